"""What a log looks like in numbers: look here before setting percentiles, a session gap or a protocol.

Nothing here changes data; reading it is the work of reading and prepared, showing it that of text, picture and page.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hrnn_hpo.data.describing.items import Popularity, Tenth, popularity, tenths
from hrnn_hpo.data.repeats import repeat_share, repeats_are_rare
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.data.splits import PROTOCOLS, make_split
from hrnn_hpo.errors import DataError

PERCENTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
GAPS = (300, 900, 1800, 3600, 6 * 3600, 24 * 3600)  # seconds
VALUE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class LengthGroup:
    """Users whose number of events lies within `shortest` and `longest`, both included."""

    shortest: int
    longest: int
    n_users: int


@dataclass(frozen=True)
class GapSessions:
    """The sessions that a pause of so many seconds makes."""

    session_gap: int
    n_sessions: int
    sessions_per_user: float
    events_per_session: float


@dataclass(frozen=True)
class ProtocolUsers:
    """How many users each role of a protocol has, with split seed 0, and how many truth events validate."""

    protocol: str
    n_train: int
    n_validation: int
    n_test: int
    n_validation_truth: int
    problem: str = ""  # why the log cannot be split this way


@dataclass(frozen=True)
class Description:
    """Figures of a log; `repeat_share` is the share of events whose item the same user had before."""

    name: str
    content_hash: str
    n_interactions: int
    n_duplicates: int  # rows left out as exact copies of another
    n_users: int
    n_items: int
    n_items_used: int
    n_sessions: int
    has_session_ids: bool  # their changes end sessions too
    session_gap: int
    sessions_per_user: float
    events_per_session: float
    sessions_at_gaps: tuple[GapSessions, ...]
    repeat_share: float
    seen: str  # what `--seen auto` does with this log
    tie_share: float  # events at the same second as the user's event before
    first_timestamp: int
    last_timestamp: int
    event_types: dict[str, int]
    event_value_share: float  # events with an EVENT_VALUE
    event_value_quantiles: dict[str, float]
    history_lengths: tuple[LengthGroup, ...]
    history_length_percentiles: dict[str, float]
    popularity: Popularity
    tenths: tuple[Tenth, ...]
    protocols: tuple[ProtocolUsers, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, times also as text."""
        return {
            **asdict(self),
            "first_time": time_text(self.first_timestamp),
            "last_time": time_text(self.last_timestamp),
        }


def describe(dataset: Dataset, session_gap: int = 1800) -> Description:
    """Return the figures of a log; a session ends after `session_gap` seconds without an event.

    The percentiles are those that the two `user_history_length_percentile` settings cut at, over all users; a run fits
    its own on the training users alone.
    """
    lengths = dataset.history_lengths
    gaps = tuple(_sessions(dataset, gap) for gap in sorted({*GAPS, session_gap}))
    asked = next(found for found in gaps if found.session_gap == session_gap)
    types: dict[str, int] = {}
    if dataset.event_types is not None:
        counts = np.bincount(dataset.event_types + 1, minlength=len(dataset.event_type_names) + 1)
        types = dict(zip(("", *dataset.event_type_names), counts.tolist(), strict=True))
        if not types[""]:
            del types[""]
    users = dataset.event_users
    same_user = users[1:] == users[:-1]
    ties = same_user & (np.diff(dataset.timestamps) == 0)
    values = None if dataset.event_values is None else np.asarray(dataset.event_values)
    known = np.empty(0) if values is None else values[~np.isnan(values)].astype(np.float64)  # differences overflow
    repeats = repeat_share(dataset)
    return Description(
        name=dataset.name,
        content_hash=dataset.content_hash,
        n_interactions=dataset.n_events,
        n_duplicates=dataset.n_duplicates,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        n_items_used=len(np.unique(dataset.items)),
        n_sessions=asked.n_sessions,
        has_session_ids=dataset.session_ids is not None,
        session_gap=session_gap,
        sessions_per_user=asked.sessions_per_user,
        events_per_session=asked.events_per_session,
        sessions_at_gaps=gaps,
        repeat_share=repeats,
        seen="remove" if repeats_are_rare(dataset, repeats) else "keep",
        tie_share=float(ties.sum() / dataset.n_events),
        first_timestamp=int(dataset.timestamps.min()),
        last_timestamp=int(dataset.timestamps.max()),
        event_types=types,
        event_value_share=len(known) / dataset.n_events,
        event_value_quantiles={f"{share:g}": float(np.quantile(known, share)) for share in VALUE_SHARES if len(known)},
        history_lengths=_histogram(lengths),
        history_length_percentiles={f"{share:g}": float(np.quantile(lengths, share)) for share in PERCENTILES},
        popularity=popularity(dataset),
        tenths=tenths(dataset),
        protocols=tuple(_protocol_users(dataset, protocol) for protocol in PROTOCOLS if protocol != "none"),
    )


def _sessions(dataset: Dataset, gap: int) -> GapSessions:
    n_sessions = int(session_starts(dataset, gap).sum())
    return GapSessions(gap, n_sessions, n_sessions / dataset.n_users, dataset.n_events / n_sessions)


def _protocol_users(dataset: Dataset, protocol: Any) -> ProtocolUsers:
    try:
        split = make_split(dataset, protocol, 0)
    except DataError as error:
        return ProtocolUsers(protocol, 0, 0, 0, 0, str(error))
    validation, test = split.validation, split.test
    assert validation is not None
    assert test is not None
    n_truth = int((validation.truth_stops - validation.truth_starts).sum())
    return ProtocolUsers(protocol, len(split.train.users), len(validation), len(test), n_truth)


def _histogram(lengths: "np.typing.NDArray[np.int64]") -> tuple[LengthGroup, ...]:
    """Return bins that grow by half: short histories apart, long ones together; empty ends are left out."""
    edges = [1]
    while edges[-1] <= lengths.max():
        edges.append(max(edges[-1] + 1, round(edges[-1] * 1.5)))
    counts, _ = np.histogram(lengths, [*edges[:-1], edges[-1] - 0.5])
    used = np.flatnonzero(counts)
    return tuple(
        LengthGroup(edges[place], edges[place + 1] - 1, int(counts[place])) for place in range(used[0], used[-1] + 1)
    )


def time_text(timestamp: int) -> str:
    """Return unix seconds as a date and time in UTC."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # milliseconds taken for seconds lie beyond the calendar
        return f"{timestamp} (beyond the calendar: are these seconds?)"

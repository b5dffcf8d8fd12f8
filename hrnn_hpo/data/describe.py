"""What a log looks like in numbers, as a table for people and as a picture: look here before setting percentiles.

Nothing here changes data; reading it is the work of ingest and prepared.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hrnn_hpo.data.repeats import repeat_share
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.errors import DataError

if TYPE_CHECKING:
    from rich.console import RenderableType

PERCENTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class LengthGroup:
    """Users whose number of events lies within `shortest` and `longest`, both included."""

    shortest: int
    longest: int
    n_users: int


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
    repeat_share: float
    tie_share: float  # events at the same second as the user's event before
    first_timestamp: int
    last_timestamp: int
    event_types: dict[str, int]
    event_value_share: float  # events with an EVENT_VALUE
    history_lengths: tuple[LengthGroup, ...]
    history_length_percentiles: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, times also as text."""
        return {
            **asdict(self),
            "first_time": _time_text(self.first_timestamp),
            "last_time": _time_text(self.last_timestamp),
        }


def describe(dataset: Dataset, session_gap: int = 1800) -> Description:
    """Return the figures of a log; a session ends after `session_gap` seconds without an event.

    The percentiles are those that the two `user_history_length_percentile` settings cut at, over all users; a run fits
    its own on the training users alone.
    """
    lengths = dataset.history_lengths
    n_sessions = int(session_starts(dataset, session_gap).sum())
    types: dict[str, int] = {}
    if dataset.event_types is not None:
        counts = np.bincount(dataset.event_types + 1, minlength=len(dataset.event_type_names) + 1)
        types = dict(zip(("", *dataset.event_type_names), counts.tolist(), strict=True))
        if not types[""]:
            del types[""]
    users = dataset.event_users
    same_user = users[1:] == users[:-1]
    ties = same_user & (np.diff(dataset.timestamps) == 0)
    return Description(
        name=dataset.name,
        content_hash=dataset.content_hash,
        n_interactions=dataset.n_events,
        n_duplicates=dataset.n_duplicates,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        n_items_used=len(np.unique(dataset.items)),
        n_sessions=n_sessions,
        has_session_ids=dataset.session_ids is not None,
        session_gap=session_gap,
        sessions_per_user=n_sessions / dataset.n_users,
        events_per_session=dataset.n_events / n_sessions,
        repeat_share=repeat_share(dataset),
        tie_share=float(ties.sum() / dataset.n_events),
        first_timestamp=int(dataset.timestamps.min()),
        last_timestamp=int(dataset.timestamps.max()),
        event_types=types,
        event_value_share=0.0 if dataset.event_values is None else float((~np.isnan(dataset.event_values)).mean()),
        history_lengths=_histogram(lengths),
        history_length_percentiles={f"{share:g}": float(np.quantile(lengths, share)) for share in PERCENTILES},
    )


def render(description: Description) -> "RenderableType":
    """Return the figures as text for a rich console: a table of facts, then the histogram of history lengths."""
    from rich.console import Group
    from rich.table import Table

    facts = Table(show_header=False, box=None, title=description.name or None, title_justify="left")
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")  # the hash stays whole
    for label, value in _facts(description):
        facts.add_row(label, value)
    histogram = Table(title="History lengths", title_justify="left", box=None)
    for column in ("events", "users", "share", "up to here"):
        histogram.add_column(column, justify="right")
    histogram.add_column("")
    most = max(group.n_users for group in description.history_lengths)
    passed = 0
    for group in description.history_lengths:
        passed += group.n_users
        span = str(group.shortest) if group.shortest == group.longest else f"{group.shortest}-{group.longest}"
        histogram.add_row(
            span,
            f"{group.n_users:,}",
            f"{group.n_users / description.n_users:.1%}",
            f"{passed / description.n_users:.1%}",
            "█" * round(30 * group.n_users / most),
        )
    percentiles = Table(title="History length at each percentile", title_justify="left", box=None)
    for share in description.history_length_percentiles:
        percentiles.add_column(share, justify="right")
    percentiles.add_row(*(f"{length:g}" for length in description.history_length_percentiles.values()))
    return Group(facts, "", histogram, "", percentiles)


def plot(description: Description, path: Path) -> Path:
    """Draw the histogram of history lengths to a PNG (or what the ending says) without a display; return the path.

    Raises DataError when the file cannot be written or its ending names no kind of picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import ScalarFormatter

    groups = description.history_lengths
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.stairs(
        [group.n_users for group in groups],
        [*(group.shortest for group in groups), groups[-1].longest + 1],
        fill=True,
        color="#9ecae1",
    )
    axes.set(xscale="log", xlabel="events of a user", ylabel="users", title=f"{description.name}: history lengths")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    for share in ("0.05", "0.5", "0.95", "0.99"):
        length = description.history_length_percentiles[share]
        axes.axvline(length, color="C1", linewidth=1)
        axes.annotate(
            f" {share}: {length:g}", (length, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the picture cannot be written ({error}).") from error
    finally:
        plt.close(figure)
    return path


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


def _facts(description: Description) -> list[tuple[str, str]]:
    d = description
    unused = d.n_items - d.n_items_used
    facts = [
        (
            "interactions",
            f"{d.n_interactions:,}" + (f" ({d.n_duplicates:,} exact duplicates left out)" if d.n_duplicates else ""),
        ),
        ("users", f"{d.n_users:,}"),
        ("items", f"{d.n_items:,}" + (f" ({unused:,} without an interaction)" if unused else "")),
        (
            "sessions",
            f"{d.n_sessions:,} (a pause of {d.session_gap} s{' or a new SESSION_ID' * d.has_session_ids} ends one)",
        ),
        ("sessions per user", f"{d.sessions_per_user:.2f}"),
        ("events per session", f"{d.events_per_session:.2f}"),
        ("repeats", f"{d.repeat_share:.2%} of the events are on an item that the user had before"),
        ("ties", f"{d.tie_share:.2%} of the events share the second of the event before"),
        ("from", _time_text(d.first_timestamp)),
        ("until", _time_text(d.last_timestamp)),
    ]
    if d.event_types:
        facts.append(
            ("event types", ", ".join(f"{name or '(none)'} {count:,}" for name, count in d.event_types.items()))
        )
    if d.event_value_share:
        facts.append(("event values", f"{d.event_value_share:.1%} of the events have one"))
    return [*facts, ("content hash", d.content_hash)]


def _time_text(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # milliseconds taken for seconds lie beyond the calendar
        return f"{timestamp} (beyond the calendar: are these seconds?)"

"""When a recommendation is asked for: the gap since the last event, whether it opens a session, hour and weekday.

Known when a recommendation is asked for, unlike anything else about the next event. What a model makes of it is
model/request_time's work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.blocks import pieces, zeros
from hrnn_hpo.data.featurize import CONTINUE, NEW_SESSION, NEW_USER, SECONDS_PER_DAY, EventFeatures, gap_bucket
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import DataError

N_HOURS, N_WEEKDAYS = 24, 7
NO_REQUEST_TIME = (
    "The model does not read the time of a request: train one with a `request_time` other than none, such as "
    "`--set request_time=gap+session+clock`."
)
FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True)
class RequestTimes:
    """When each of R requests is made, as the model reads it; all arrays (R,). A request may come without a time."""

    known: NDArray[np.bool_]  # False: without a time, and the other arrays say nothing
    gap_buckets: NDArray[np.uint8]  # `gap_bucket` of the time since the user's last event; 0: there is none
    control: NDArray[np.uint8]  # what an event at this time would be: CONTINUE, NEW_SESSION or NEW_USER
    clock: NDArray[np.uint8]  # N_HOURS weekday + hour in UTC, Monday is 0

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: NDArray[np.int64] | slice) -> "RequestTimes":
        """Return some of the requests."""
        return RequestTimes(self.known[rows], self.gap_buckets[rows], self.control[rows], self.clock[rows])


def clock_of(timestamps: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return N_HOURS weekday + hour of unix seconds in UTC; Monday is 0.

    >>> int(clock_of(np.array([0]))[0])  # Thursday, midnight
    72
    """
    days, seconds = np.divmod(np.asarray(timestamps, dtype=np.int64), SECONDS_PER_DAY)
    clock: NDArray[np.uint8] = (N_HOURS * ((days + FIRST_WEEKDAY) % N_WEEKDAYS) + seconds // 3600).astype(np.uint8)
    return clock


def requests_of_events(dataset: Dataset, features: EventFeatures) -> RequestTimes:
    """Return for each event of the log the request that it answers, made at its own time, (N,)."""
    clock = zeros(dataset.n_events, np.uint8)
    for piece in pieces(dataset.n_events):
        clock[piece] = clock_of(dataset.timestamps[piece])
    return RequestTimes(
        known=np.ones(dataset.n_events, dtype=np.bool_),
        gap_buckets=features.gap_buckets,
        control=features.control,
        clock=clock,
    )


def requests_after(log: Dataset, at: Sequence[int | None], session_gap: int) -> RequestTimes:
    """Return the requests of a log's users at unix seconds, (U,), each after the user's whole history; None: no time.

    A request `session_gap` seconds or more after the last event opens a session. Raises DataError for a time before
    the user's last event.
    """
    stops, lengths = np.asarray(log.user_offsets)[1:], log.history_lengths
    requests = [
        request_after(
            time,
            int(log.timestamps[stop - 1]) if length else None,
            session_gap,
            user=str(user),
        )
        for time, stop, length, user in zip(at, stops, lengths, log.user_ids, strict=True)
    ]
    return joined(requests)


def request_after(
    at: int | None, last: int | None, session_gap: int, *, user: str, changed: bool = False
) -> RequestTimes:
    """Return one request at unix seconds after a user's last event, (1,); no event yet, or no time: None.

    `changed` says that the caller's session is another one than the last event's. Raises DataError for a time before
    the last event.
    """
    if at is None:
        return unknown_requests(1)
    if last is not None and at < last:
        raise DataError(
            f"The time of a request must not be before the user's last event, but got {at}, and user {user!r} has an "
            f"event at {last}."
        )
    control, bucket = NEW_USER, 0
    if last is not None:
        control = NEW_SESSION if changed or at - last >= session_gap else CONTINUE
        bucket = int(gap_bucket(at - last))
    return RequestTimes(
        known=np.ones(1, dtype=np.bool_),
        gap_buckets=np.array([bucket], dtype=np.uint8),
        control=np.array([control], dtype=np.uint8),
        clock=clock_of(np.array([at])),
    )


def unknown_requests(n: int) -> RequestTimes:
    """Return `n` requests without a time."""
    return RequestTimes(np.zeros(n, dtype=np.bool_), *(np.zeros(n, dtype=np.uint8) for _ in range(3)))


def joined(requests: Sequence[RequestTimes]) -> RequestTimes:
    """Return several users' requests as one, in their order."""
    if not requests:
        return unknown_requests(0)
    return RequestTimes(
        known=np.concatenate([request.known for request in requests]),
        gap_buckets=np.concatenate([request.gap_buckets for request in requests]),
        control=np.concatenate([request.control for request in requests]),
        clock=np.concatenate([request.clock for request in requests]),
    )

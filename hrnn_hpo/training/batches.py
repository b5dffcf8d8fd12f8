"""The order in which training events are seen: users side by side in lanes, a window of steps at a time.

A lane follows one user through the whole history, window by window, and then takes the next user. State is carried
by the lanes, so nothing is read twice and nothing is padded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TARGET_WINDOW = 32  # steps of an update; longer only where the gradient is asked to run further

# `batch_size: auto`. Small updates learn more from an epoch, large ones make it faster: below 16 users an epoch takes
# long and learns no more, above 128 it becomes hardly faster. docs/benchmarks.md has the figures.
UPDATES_PER_EPOCH = 200
SMALLEST_AUTO, LARGEST_AUTO = 16, 128


@dataclass(frozen=True)
class Window:
    """One update's work: B lanes by descending length, the rows each reads, and who starts afresh."""

    lanes: NDArray[np.int64]  # (B,) which lane's state each user continues
    starts: NDArray[np.int64]  # (B,) first event row
    lengths: NDArray[np.int64]  # (B,) event rows, descending, at least 1
    fresh: NDArray[np.bool_]  # (B,) True where the lane begins a new user


def window_steps(bptt: int) -> int:
    """Return the steps of a window: a multiple of bptt, near TARGET_WINDOW.

    So a short bptt cuts the gradient, and not the number of targets that an update learns from.
    """
    return bptt * math.ceil(TARGET_WINDOW / bptt)


def auto_batch_size(n_events: int, bptt: int) -> int:
    """Return the power of two of users, 16 to 128, that gives an epoch of so many events near 200 updates or more.

    Logs of less than 100,000 events have fewer updates and the smallest size; a longer window needs fewer users.
    """
    wanted = n_events / (UPDATES_PER_EPOCH * window_steps(bptt))
    return min(max(1 << int(math.log2(max(wanted, 1.0))), SMALLEST_AUTO), LARGEST_AUTO)


def epoch_windows(
    starts: NDArray[np.int64], stops: NDArray[np.int64], n_lanes: int, steps: int, rng: np.random.Generator
) -> Iterator[Window]:
    """Yield windows that cover every event row of every user once, in random order of users.

    `starts`, `stops` (R,) are the users' row ranges, none empty. A user with many windows gets an earlier place, so
    that lanes run out together: places are drawn uniformly from those that let the user finish in time.
    """
    n_windows = -(-(stops - starts) // steps)  # (R,)
    n_lanes = min(n_lanes, len(starts))
    n_updates = max(int(n_windows.max()), math.ceil(n_windows.sum() / n_lanes))
    queue = np.argsort(rng.random(len(starts)) * (n_updates - n_windows + 1), kind="stable")
    position, stop = np.zeros(n_lanes, dtype=np.int64), np.zeros(n_lanes, dtype=np.int64)
    n_taken = 0
    while True:
        free = np.flatnonzero(position >= stop)
        new = queue[n_taken : n_taken + len(free)]
        n_taken += len(new)
        taking = free[: len(new)]
        position[taking], stop[taking] = starts[new], stops[new]
        fresh = np.zeros(n_lanes, dtype=bool)
        fresh[taking] = True
        lengths = np.minimum(stop - position, steps)
        lanes = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths > 0)]
        if len(lanes) == 0:
            return
        yield Window(lanes, position[lanes], lengths[lanes], fresh[lanes])
        position[lanes] += lengths[lanes]

"""A large log a piece at a time, and what has a number for each of its events without filling the memory.

What is computed of the pieces is featurize's and repeats' work.
"""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hrnn_hpo.data.keeping.cache import cache_folder
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart, expand_ranges

EVENTS_AT_ONCE = 4_000_000


def pieces(n_events: int) -> Iterator[slice]:
    """Yield the pieces of a log in order."""
    for begin in range(0, n_events, EVENTS_AT_ONCE):
        yield slice(begin, min(begin + EVENTS_AT_ONCE, n_events))


def pairs_of_events(n_events: int) -> Iterator[slice]:
    """Yield overlapping pieces of a log, so that each event but the first stands in one piece with the one before."""
    for begin in range(0, max(n_events - 1, 0), EVENTS_AT_ONCE):
        yield slice(begin, min(begin + EVENTS_AT_ONCE + 1, n_events))


def training_rows(dataset: Dataset, train: TrainPart) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of all training targets, ascending, whole users at a time."""
    starts = np.asarray(dataset.user_offsets)[train.users]
    for some in whole_users(train.lengths(dataset)):
        yield expand_ranges(starts[some], train.stops[some])[1]


def blocks_of_users(dataset: Dataset) -> Iterator[tuple[NDArray[np.int64], slice]]:
    """Yield the users of some events, counted from 0, and those events, all of a log in order."""
    for some in whole_users(dataset.history_lengths):
        offsets = np.asarray(dataset.user_offsets[some.start : some.stop + 1])
        yield np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets)), slice(offsets[0], offsets[-1])


def whole_users(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Yield pieces of a number of users who have so many events each; a huge history is a piece by itself."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(ends):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + EVENTS_AT_ONCE, side="right")), first + 1)  # one past the piece
        yield slice(first, last)
        first = last


def zeros(n: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros (n,): many of them in a file of the cache folder, which has no name and ends with the process.

    The system writes its pages out where memory is short. Without room on disk they are in memory.
    """
    if n > EVENTS_AT_ONCE and hasattr(os, "posix_fallocate"):
        try:
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache_folder()) as file:
                # All of it now: a full disk is an error here, and would end the process at a later write.
                os.posix_fallocate(file.fileno(), 0, n * np.dtype(dtype).itemsize)
                return np.asarray(np.memmap(file, dtype, "r+", shape=(n,)))
        except OSError:
            pass
    return np.zeros(n, dtype)

"""A new order, in each epoch, of a user's events that share a second.

Where a log's times are coarse, or many events are written at once, the order within a second says nothing of what came
first, and a model learns it by heart nevertheless. Which events each step learns is targets' business.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.blocks import pieces, training_rows, zeros
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart


def shuffle_ties(dataset: Dataset, train: TrainPart, rng: np.random.Generator) -> Dataset:
    """Return the log with each user's training events of one second and one session in random order.

    Items change places together with their types and values. All other events stay, those that are held back too, so
    times, sessions and the time between two events stay as they are, row for row.
    """
    columns: list[Any] = [dataset.items, dataset.event_types, dataset.event_values]
    items, types, values = copies = [None if column is None else _copy(column) for column in columns]
    for rows in training_rows(dataset, train):
        group = np.zeros(len(rows))  # (R,) which tie an event is of; most are alone in theirs
        group[1:] = np.cumsum(_parts(dataset, train, rows))
        # Draws of 24 bits: the sum is exact, and never rounded up into the next group.
        moved = rows[np.argsort(group + rng.random(len(rows), dtype=np.float32))]
        for column, copy in zip(columns, copies, strict=True):
            if copy is not None:
                copy[rows] = column[moved]
    assert items is not None
    return replace(dataset, items=items, event_types=types, event_values=values)


def _parts(dataset: Dataset, train: TrainPart, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each training row but the first whether it has another user, second or session than the one before."""
    users = np.searchsorted(train.stops, rows, side="right")
    parts: NDArray[np.bool_] = (np.diff(users) > 0) | (np.diff(dataset.timestamps[rows]) > 0)
    if dataset.session_ids is not None:
        parts |= np.diff(dataset.session_ids[rows]) != 0
    return parts


def _copy(values: NDArray[Any]) -> NDArray[Any]:
    copy = zeros(len(values), values.dtype)
    for piece in pieces(len(values)):
        copy[piece] = values[piece]
    return copy

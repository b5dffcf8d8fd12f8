"""What the model sees at each step: the event before the one it predicts, or the start of a history.

The step that predicts a user's event e reads event e - 1; the first reads a start token. So a history of n events
gives n training targets, and n + 1 steps end in the state that recommends what comes next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.data.featurize import NEW_SESSION, NEW_USER, EventFeatures
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model.accelerator import send

A = TypeVar("A", bound=np.generic)


@dataclass(frozen=True)
class StepInputs:
    """Input of the step before each event of a log, row for row: (N,) arrays, or a packed batch of tensors."""

    items: NDArray[np.int32]  # (N,) item codes; V stands for the start token
    gap_buckets: NDArray[np.uint8]  # (N,)
    control: NDArray[np.uint8]  # (N,)
    event_types: NDArray[np.int32] | None  # (N,) 0 = none
    event_values: NDArray[np.float32] | None  # (N,) as in the log; NaN: empty, or the start token


@dataclass(frozen=True)
class PackedInputs:
    """Steps of B users packed without padding, users by descending length; see recurrence."""

    items: Tensor  # (N,) int64
    gap_buckets: Tensor  # (N,) int64
    control: Tensor  # (N,) int64
    event_types: Tensor | None  # (N,) int64
    event_values: Tensor | None  # (N,) float32, NaN where empty
    step_sizes: Sequence[int]  # (T,) users that reach step t
    new_sessions: NDArray[np.int64]  # (K,) the packed rows that open a session, ascending; known without the device

    @property
    def device(self) -> torch.device:
        return self.items.device


def step_inputs(dataset: Dataset, features: EventFeatures) -> StepInputs:
    """Return for each event of the log the input of the step that predicts it."""
    first = np.zeros(dataset.n_events, dtype=bool)
    first[dataset.user_offsets[:-1][dataset.history_lengths > 0]] = True
    return StepInputs(
        items=_shift(dataset.items, first, dataset.n_items),
        gap_buckets=_shift(features.gap_buckets, first, 0),
        control=_shift(features.control, first, NEW_USER),
        event_types=None if features.event_types is None else _shift(features.event_types, first, 0),
        event_values=None if features.event_values is None else _shift(features.event_values, first, np.nan),
    )


def history_inputs(dataset: Dataset, features: EventFeatures) -> tuple[StepInputs, NDArray[np.int64]]:
    """Return the steps of every user's whole history, the start token and then the events, and where each begins (U,).

    A history of n events is n + 1 rows, so the log's N events and U users make N + U.
    """
    first_events = np.asarray(dataset.user_offsets)[:-1]

    def start_with(values: NDArray[A], start: float) -> NDArray[A]:
        return np.insert(values, first_events, start)

    steps = StepInputs(
        items=start_with(dataset.items, dataset.n_items),
        gap_buckets=start_with(features.gap_buckets, 0),
        control=start_with(features.control, NEW_USER),
        event_types=None if features.event_types is None else start_with(features.event_types, 0),
        event_values=None if features.event_values is None else start_with(features.event_values, np.nan),
    )
    return steps, first_events + np.arange(dataset.n_users)


def pack(
    inputs: StepInputs, starts: NDArray[np.int64], lengths: NDArray[np.int64], device: torch.device
) -> tuple[PackedInputs, NDArray[np.int64]]:
    """Return the rows `starts : starts + lengths` of B users as one packed batch, and those rows in packed order (N,).

    `lengths` must descend and be at least 1.
    """
    steps = np.arange(lengths[0])
    alive = steps[:, None] < lengths  # (T, B)
    rows = (starts + steps[:, None])[alive]  # (N,) step by step, the users of a step in order
    step_sizes = alive.sum(axis=1).tolist()

    def take(values: NDArray[np.generic] | None, dtype: torch.dtype) -> Tensor | None:
        return None if values is None else send(values[rows], device, dtype)

    items = take(inputs.items, torch.int64)
    gap_buckets = take(inputs.gap_buckets, torch.int64)
    control = take(inputs.control, torch.int64)
    assert items is not None
    assert gap_buckets is not None
    assert control is not None
    packed = PackedInputs(
        items=items,
        gap_buckets=gap_buckets,
        control=control,
        event_types=take(inputs.event_types, torch.int64),
        event_values=take(inputs.event_values, torch.float32),
        step_sizes=step_sizes,
        new_sessions=np.flatnonzero(inputs.control[rows] == NEW_SESSION),
    )
    return packed, rows


def _shift(values: NDArray[A], first: NDArray[np.bool_], start: float) -> NDArray[A]:
    shifted = np.empty(len(values), dtype=values.dtype)
    shifted[1:] = values[:-1]
    shifted[first] = start
    return shifted

"""What the model sees at each step: the event before the one it predicts, or the start of a history.

The step that predicts a user's event e reads event e - 1; the first reads a start token. So a history of n events
gives n training targets, and n + 1 steps end in the state that recommends what comes next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.data.featurize import NEW_SESSION, NEW_USER, EventFeatures
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model.accelerator import send

A = TypeVar("A", bound=np.generic)


class EventBefore(Generic[A]):
    """What the step before each event reads of the event before that, (N,): its value, or `start` for a user's first.

    Values are looked up when rows are asked for: of a log of 100 million events no second copy is made.
    """

    def __init__(self, values: NDArray[A], control: NDArray[np.uint8], start: float, plus: int = 0) -> None:
        self.values, self.control, self.start, self.plus = values, control, start, plus

    def __len__(self) -> int:
        return len(self.values)

    def reading(self, values: NDArray[A]) -> "EventBefore[A]":
        """Return the same of other values, (N,)."""
        return EventBefore(values, self.control, self.start, self.plus)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[A]:
        at = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        found: NDArray[A] = np.asarray(self.values[at - 1])  # row 0 is a first one: what it finds is replaced
        if self.plus:
            found += self.plus  # type: ignore[misc]
        found[self.control[at] == NEW_USER] = self.start
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True)
class StepInputs:
    """Input of the step before each event of a log, row for row, or of each step of whole histories; all (N,)."""

    items: NDArray[np.int32] | EventBefore[np.int32]  # item codes; V stands for the start token
    gap_buckets: NDArray[np.uint8] | EventBefore[np.uint8]
    control: NDArray[np.uint8] | EventBefore[np.uint8]
    event_types: NDArray[np.int32] | EventBefore[np.int32] | None  # 0 = none
    event_values: NDArray[np.float32] | EventBefore[np.float32] | None  # as in the log; NaN: empty, or the start token


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
    control, types, values = features.control, features.type_codes, features.event_values
    return StepInputs(
        items=EventBefore(dataset.items, control, dataset.n_items),
        gap_buckets=EventBefore(features.gap_buckets, control, 0),
        control=EventBefore(control, control, NEW_USER),
        event_types=None if types is None else EventBefore(types, control, 0, plus=1),
        event_values=None if values is None else EventBefore(values, control, np.nan),
    )


def with_events(inputs: StepInputs, dataset: Dataset) -> StepInputs:
    """Return the `step_inputs` of the same log with other items, types and values in its rows, at the same times."""
    items, types, values = inputs.items, inputs.event_types, inputs.event_values
    assert isinstance(items, EventBefore)
    if isinstance(types, EventBefore) and dataset.event_types is not None:
        types = types.reading(dataset.event_types)
    if isinstance(values, EventBefore) and dataset.event_values is not None:
        values = values.reading(dataset.event_values)
    return replace(inputs, items=items.reading(dataset.items), event_types=types, event_values=values)


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

    def take(values: NDArray[Any] | EventBefore[Any] | None, dtype: torch.dtype) -> Tensor | None:
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

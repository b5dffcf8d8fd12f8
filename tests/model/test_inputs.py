"""Step inputs: each step reads the event before the one it predicts, and nothing later."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from small_runs import inputs_of

from hrnn_hpo.data.featurize import CONTINUE, NEW_SESSION, NEW_USER, event_features, gap_bucket
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import Event, make_dataset
from hrnn_hpo.model.inputs import StepInputs, history_inputs, pack

FIELDS = ("items", "gap_buckets", "control", "event_types", "event_values")
ITEMS = ["a", "b", "c"]


@pytest.fixture
def dataset() -> Dataset:
    return make_dataset(
        [
            [("a", 0, "view", 1.0), ("b", 60, "buy", 2.0), ("c", 4000, None, None)],
            [("c", 10, "buy", 5.0)],
        ]
    )


def test_each_step_reads_the_event_before_its_target(dataset: Dataset) -> None:
    inputs = inputs_of(dataset)
    start = dataset.n_items
    assert inputs.items[:].tolist() == [start, 0, 1, start]
    assert inputs.gap_buckets[:].tolist() == [0, 0, gap_bucket(60), 0]
    assert inputs.control[:].tolist() == [NEW_USER, NEW_USER, CONTINUE, NEW_USER]
    assert inputs.event_types is not None
    assert inputs.event_types[:].tolist() == [0, 2, 1, 0]  # buy = 1, view = 2
    assert inputs.event_values is not None
    np.testing.assert_array_equal(inputs.event_values, [np.nan, 1.0, 2.0, np.nan])


def test_a_history_of_n_events_gives_n_plus_1_steps(dataset: Dataset) -> None:
    log = make_dataset(
        [[("a", 0, "view", 1.0), ("b", 60, "buy", 2.0), ("c", 4000, None, None)], [("c", 5, "buy", 3.0)]]
    )
    steps, starts = history_inputs(log, event_features(log, 1800))
    assert starts.tolist() == [0, 4]
    assert steps.items.tolist() == [3, 0, 1, 2, 3, 2]
    assert steps.control.tolist() == [NEW_USER, NEW_USER, CONTINUE, NEW_SESSION, NEW_USER, NEW_USER]
    assert steps.event_values is not None
    np.testing.assert_array_equal(steps.event_values, [np.nan, 1.0, 2.0, np.nan, np.nan, 3.0])
    of_log = inputs_of(dataset)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(steps, field)[:3], getattr(of_log, field)[:3], field)


def test_an_empty_history_is_the_start_token_alone(dataset: Dataset) -> None:
    empty = _without_events(dataset)
    steps, starts = history_inputs(empty, event_features(empty, 1800))
    assert starts.tolist() == [0]
    assert steps.items.tolist() == [empty.n_items]
    assert steps.control.tolist() == [NEW_USER]


def _without_events(dataset: Dataset) -> Dataset:
    return Dataset(
        user_offsets=np.zeros(2, np.int64),
        items=dataset.items[:0],
        timestamps=dataset.timestamps[:0],
        user_ids=dataset.user_ids[:1],
        item_ids=dataset.item_ids,
        content_hash="",
        event_types=dataset.event_types[:0] if dataset.event_types is not None else None,
        event_type_names=dataset.event_type_names,
        event_values=dataset.event_values[:0] if dataset.event_values is not None else None,
    )


@st.composite
def events(draw: DrawFn, first_time: int) -> list[Event]:
    gaps = draw(st.lists(st.sampled_from([0, 60, 1800, 90_000]), min_size=1, max_size=6))
    times = first_time + np.cumsum(gaps)
    return [
        (draw(st.sampled_from(ITEMS)), int(t), draw(st.sampled_from(["view", "buy"])), float(draw(st.integers(0, 9))))
        for t in times
    ]


@given(past=events(0), one_future=events(10**6), other_future=events(10**7), neighbour=events(0))
def test_no_step_knows_its_own_event_or_a_later_one(
    past: list[Event], one_future: list[Event], other_future: list[Event], neighbour: list[Event]
) -> None:
    def steps_of(history: list[Event]) -> StepInputs:
        known = [(item, 0, kind, 0.0) for item in ITEMS for kind in ("view", "buy")]  # the same vocabularies
        return inputs_of(make_dataset([history, neighbour, known]))

    one, other = steps_of([*past, *one_future]), steps_of([*past, *other_future])
    # The step that predicts the first future event is row len(past): it and all before must be equal.
    for field in FIELDS:
        np.testing.assert_array_equal(
            getattr(one, field)[: len(past) + 1], getattr(other, field)[: len(past) + 1], field
        )


def test_packed_steps_stand_step_by_step(dataset: Dataset) -> None:
    packed, rows = pack(inputs_of(dataset), np.array([0, 3]), np.array([3, 1]), torch.device("cpu"))
    assert packed.step_sizes == [2, 1, 1]
    assert rows.tolist() == [0, 3, 1, 2]
    assert packed.items.tolist() == [3, 3, 0, 1]
    assert packed.items.dtype == torch.int64
    assert packed.event_values is not None
    np.testing.assert_array_equal(packed.event_values, [np.nan, np.nan, 1.0, 2.0])


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6).map(lambda lengths: sorted(lengths, reverse=True)))
def test_packing_keeps_every_row_once_in_each_users_order(lengths: list[int]) -> None:
    dataset = make_dataset([[("a", t) for t in range(length)] for length in lengths])
    packed, rows = pack(
        inputs_of(dataset), np.asarray(dataset.user_offsets[:-1]), np.array(lengths), torch.device("cpu")
    )
    assert sorted(rows.tolist()) == list(range(sum(lengths)))
    assert sum(packed.step_sizes) == len(rows)
    owners = np.asarray(dataset.event_users)[rows]
    begin = 0
    for t, size in enumerate(packed.step_sizes):
        assert owners[begin : begin + size].tolist() == list(range(size))
        assert (rows[begin : begin + size] - np.asarray(dataset.user_offsets)[:size] == t).all()
        begin += size

"""Hypothesis strategies and a literal builder for small datasets, imported by tests of any module."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart

DAY = 86_400


def dataset_of(
    histories: Sequence[Sequence[int]],
    *,
    n_items: int | None = None,
    times: Sequence[Sequence[int]] | None = None,
    values: Sequence[Sequence[float]] | None = None,
) -> Dataset:
    """Return a dataset of users u0, u1, … whose events are the given item codes, oldest first, a minute apart.

    Items are i00, i01, …; `times` and `values` (EVENT_VALUE, NaN where empty) have the shape of `histories`.
    """
    flat = [item for history in histories for item in history]
    n_items = max(flat, default=0) + 1 if n_items is None else n_items
    if times is None:
        times = [[60 * step for step in range(len(history))] for history in histories]
    digits_user, digits_item = len(str(max(len(histories) - 1, 1))), max(2, len(str(n_items - 1)))
    return Dataset(
        user_offsets=np.cumsum([0, *(len(history) for history in histories)], dtype=np.int64),
        items=np.array(flat, dtype=np.int32),
        timestamps=np.array([time for row in times for time in row], dtype=np.int64),
        user_ids=np.array([f"u{user:0{digits_user}d}" for user in range(len(histories))], dtype=np.str_),
        item_ids=np.array([f"i{item:0{digits_item}d}" for item in range(n_items)], dtype=np.str_),
        content_hash="0" * 64,
        event_values=None if values is None else np.array([v for row in values for v in row], dtype=np.float32),
        name="literal",
    )


def baskets(size: int, n_users: int = 20, n_baskets: int = 12) -> Dataset:
    """Return a log of baskets a day apart: `size` different items each, of twice as many that each user buys."""
    rng = np.random.default_rng(0)
    histories, times = [], []
    for _ in range(n_users):
        own = rng.choice(10 * size, 2 * size, replace=False)
        histories.append(np.concatenate([rng.choice(own, size, replace=False) for _ in range(n_baskets)]).tolist())
        times.append(np.repeat(86_400 * np.arange(1, n_baskets + 1), size).tolist())
    return dataset_of(histories, n_items=10 * size, times=times)


def eval_part_of(dataset: Dataset, n_truth: Sequence[int] | int = 1) -> EvalPart:
    """Return the part that evaluates every user with more events than truth on the newest `n_truth` events."""
    counts = np.broadcast_to(np.asarray(n_truth, dtype=np.int64), (dataset.n_users,))
    users = np.flatnonzero(dataset.history_lengths > counts).astype(np.int64)
    stops = dataset.user_offsets[1:][users]
    return EvalPart(users=users, truth_starts=stops - counts[users], truth_stops=stops)


def train_part_of(dataset: Dataset, n_held_out: int = 0) -> TrainPart:
    """Return the part that trains on every user's events but the newest `n_held_out`."""
    users = np.flatnonzero(dataset.history_lengths > n_held_out).astype(np.int64)
    return TrainPart(users=users, stops=dataset.user_offsets[1:][users] - n_held_out)


@st.composite
def datasets(
    draw: DrawFn,
    *,
    min_users: int = 1,
    max_users: int = 6,
    max_items: int = 40,
    min_events: int = 2,
    max_events: int = 12,
    repeats: bool = True,
    with_values: bool = False,
) -> Dataset:
    """Draw a small dataset: each user has `min_events` to `max_events` events at random, non-decreasing times.

    Without `repeats` no user meets an item twice; with `with_values` events carry an EVENT_VALUE, sometimes empty.
    """
    n_items = draw(st.integers(min_events, max_items))
    longest = max_events if repeats else min(max_events, n_items)
    history = st.lists(st.integers(0, n_items - 1), min_size=min_events, max_size=longest, unique=not repeats)
    histories = draw(st.lists(history, min_size=min_users, max_size=max_users))
    gap = st.sampled_from([0, 1, 60, 1_800, DAY, 40 * DAY])
    times, values = [], []
    for events in histories:
        gaps = draw(st.lists(gap, min_size=len(events), max_size=len(events)))
        times.append([int(time) for time in np.cumsum(gaps)])
        if with_values:
            value = st.one_of(st.just(float("nan")), st.integers(0, 20).map(float))
            values.append(draw(st.lists(value, min_size=len(events), max_size=len(events))))
    return dataset_of(histories, n_items=n_items, times=times, values=values if with_values else None)


@st.composite
def eval_parts(draw: DrawFn, dataset: Dataset) -> EvalPart:
    """Draw a part that evaluates some users of the dataset, each with at least one input and one truth event."""
    able = [user for user in range(dataset.n_users) if dataset.history_lengths[user] >= 2]
    users = sorted(draw(st.sets(st.sampled_from(able), min_size=1)))
    n_truth = [draw(st.integers(1, int(dataset.history_lengths[user]) - 1)) for user in users]
    codes = np.array(users, dtype=np.int64)
    stops = dataset.user_offsets[1:][codes]
    return EvalPart(users=codes, truth_starts=stops - np.array(n_truth, dtype=np.int64), truth_stops=stops)


def truth_lists(
    *, max_rows: int = 5, max_item: int = 40, max_truth: int = 8
) -> SearchStrategy[list[tuple[list[int], list[int]]]]:
    """Draw (ranked list of distinct items, truth events with repeats) for each of some users."""
    item = st.integers(0, max_item)
    row = st.tuples(
        st.lists(item, max_size=25, unique=True),
        st.lists(item, min_size=1, max_size=max_truth),
    )
    return st.lists(row, min_size=1, max_size=max_rows)

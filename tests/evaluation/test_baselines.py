"""Baselines on small planted logs: each finds what it exists to find, from training events alone."""

from collections import Counter
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from strategies import DAY, dataset_of, datasets, eval_part_of, eval_parts, train_part_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart
from hrnn_hpo.evaluation import baselines
from hrnn_hpo.evaluation.baselines import BASELINES, OWN_HALF_LIFE_DAYS, Baseline, evaluate_baselines, nearest_items
from hrnn_hpo.evaluation.protocols import evaluate, rank


def lists_of(name: str, dataset: Dataset, train: TrainPart, part: EvalPart, k: int = 5) -> list[list[int]]:
    """Return the ranked lists of a baseline, seen items kept."""
    return rank(dataset, part, BASELINES[name](dataset, train, part), seen="keep", k=k).tolist()


def train_on(dataset: Dataset, *users: int) -> TrainPart:
    codes = np.array(users, dtype=np.int64)
    return TrainPart(codes, dataset.user_offsets[1:][codes])


def evaluate_on(dataset: Dataset, *users: int) -> EvalPart:
    part = eval_part_of(dataset)
    rows = np.flatnonzero(np.isin(part.users, users))
    return EvalPart(part.users[rows], part.truth_starts[rows], part.truth_stops[rows])


# ---- popularity


def test_popularity_counts_training_events_and_breaks_ties_by_item_code() -> None:
    dataset = dataset_of([[2, 2, 1], [2, 0], [3, 3, 3, 3, 3]], n_items=5)
    # User 2 does not train: item 3 has no event. Items 0 and 1 have one each.
    found = lists_of("popularity", dataset, train_on(dataset, 0, 1), evaluate_on(dataset, 0, 2))
    assert found == [[2, 0, 1, 3, 4]] * 2


def test_popularity_does_not_count_held_out_events() -> None:
    dataset = dataset_of([[0, 1, 1, 1], [0, 2]], n_items=3)
    assert lists_of("popularity", dataset, train_part_of(dataset, 1), eval_part_of(dataset), k=2) == [[0, 1]] * 2
    assert lists_of("popularity", dataset, train_part_of(dataset, 3), eval_part_of(dataset), k=1) == [[0]] * 2


def test_recent_popularity_counts_the_last_30_days_of_the_training_log() -> None:
    times = [[0, 0, 0, 31 * DAY, 61 * DAY], [31 * DAY + 1, 90 * DAY]]
    dataset = dataset_of([[0, 0, 0, 1, 2], [3, 4]], times=times)
    train = TrainPart(np.array([0, 1]), np.array([5, 6]))
    # The training log ends on day 61 (user 1's day 90 is held out): day 31 is just outside, a second later inside.
    assert lists_of("recent_popularity", dataset, train, evaluate_on(dataset, 1)) == [[2, 3, 0, 1, 4]]


def test_recent_popularity_follows_a_shift_that_popularity_misses() -> None:
    old = [[0, 1, 2, 3]] * 6
    new = [[4, 5, 6, 7]] * 2
    times = [[0, 1, 2, 3]] * 6 + [[100 * DAY, 100 * DAY + 1, 100 * DAY + 2, 100 * DAY + 3]] * 2
    dataset = dataset_of(old + new, times=times)
    train, part = train_part_of(dataset, 1), evaluate_on(dataset, 6, 7)
    assert lists_of("popularity", dataset, train, part, k=3) == [[0, 1, 2]] * 2
    assert lists_of("recent_popularity", dataset, train, part, k=3) == [[4, 5, 6]] * 2


# ---- own items


def test_own_items_come_by_recency_weighted_frequency_before_popular_ones() -> None:
    # Age counts from the last input event (day 240): item 2 weighs 1, item 1 1/2, item 0 twice 1/4; the tie goes to 0.
    assert OWN_HALF_LIFE_DAYS == 120
    times = [[0, 0, 120 * DAY, 240 * DAY, 241 * DAY], [0, 0, 0, 0]]
    dataset = dataset_of([[0, 0, 1, 2, 5], [4, 4, 3, 4]], times=times)
    found = lists_of("own_items", dataset, train_on(dataset, 1), evaluate_on(dataset, 0))
    assert found == [[2, 0, 1, 4, 3]]


def test_own_items_rank_a_forgotten_item_before_the_most_popular_one() -> None:
    times = [[0, 365_000 * DAY, 365_000 * DAY], [0, 0]]  # 2^-3041 is zero in any float
    dataset = dataset_of([[2, 1, 0], [0, 0]], times=times)
    assert lists_of("own_items", dataset, train_on(dataset, 1), evaluate_on(dataset, 0)) == [[1, 2, 0, -1, -1]]


def test_own_items_solve_a_log_of_habits_that_popularity_cannot() -> None:
    dataset = dataset_of([[user, user, user, user] for user in range(40)])
    train, part = train_part_of(dataset, 1), eval_part_of(dataset)
    own = evaluate(dataset, part, BASELINES["own_items"](dataset, train, part), seen="keep")
    popular = evaluate(dataset, part, BASELINES["popularity"](dataset, train, part), seen="keep")
    assert own.metrics["mrr_at_25"] == 1
    assert popular.metrics["mrr_at_25"] < 0.1


# ---- item-kNN


def test_cosines_by_hand() -> None:
    # Item 0 has users {0, 1}, item 1 {0, 1, 2}, item 2 {2}, item 3 nobody.
    taken = csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32))
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 2 / sqrt(2 * 3)
    expected[1, 2] = expected[2, 1] = 1 / sqrt(3 * 1)
    assert nearest_items(taken, 100).toarray() == pytest.approx(expected)
    expected[1, 2] = 0  # item 1's nearest is item 0
    assert nearest_items(taken, 1).toarray() == pytest.approx(expected)


@given(
    st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=8),
    st.integers(1, 12),
    st.sampled_from([1, 20, 1000]),
)
def test_nearest_items_equal_a_literal_search(users: list[set[int]], k: int, block: int) -> None:
    taken = np.zeros((len(users), 12), dtype=np.float32)
    for user, items in enumerate(users):
        taken[user, sorted(items)] = 1
    expected = np.zeros((12, 12))
    for i in range(12):
        shared = {j: float(taken[:, i] @ taken[:, j]) for j in range(12) if j != i}
        cosine = {j: n / sqrt(taken[:, i].sum() * taken[:, j].sum()) for j, n in shared.items() if n}
        # float32 is what decides ties
        nearest = sorted(cosine, key=lambda j: (-np.float32(round(cosine[j], 6)), j))[:k]
        for j in nearest:
            expected[i, j] = cosine[j]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "PRODUCT_BLOCK", block)
        found = nearest_items(csr_array(taken), k).toarray()
    # Neighbours whose cosines tie may differ by rounding; the cosines themselves may not.
    assert np.sort(found, axis=1) == pytest.approx(np.sort(expected, axis=1), abs=1e-6)
    assert found[found > 0] == pytest.approx(((taken.T @ taken) / norms(taken))[found > 0], abs=1e-6)


def norms(taken: NDArray[np.float32]) -> NDArray[np.float64]:
    lengths = np.maximum(np.sqrt(taken.sum(axis=0, dtype=np.float64)), 1e-9)
    return np.outer(lengths, lengths)


def test_equally_near_items_are_kept_by_the_lower_code() -> None:
    taken = csr_array(np.ones((3, 6), dtype=np.float32))
    assert [np.flatnonzero(row).tolist() for row in nearest_items(taken, 2).toarray()] == [
        [1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1],
    ]  # fmt: skip


def test_item_knn_finds_the_groups_that_popularity_cannot() -> None:
    groups = [list(range(first, first + 5)) for first in range(0, 100, 5)]
    dataset = dataset_of([group[turn:] + group[:turn] for group in groups for turn in range(5)])
    train, part = train_part_of(dataset, 1), eval_part_of(dataset)
    knn = evaluate(dataset, part, BASELINES["item_knn"](dataset, train, part), seen="remove")
    popular = evaluate(dataset, part, BASELINES["popularity"](dataset, train, part), seen="remove")
    assert knn.metrics["mrr_at_25"] == 1
    assert popular.metrics["mrr_at_25"] < 0.2


def test_item_knn_asks_the_last_20_input_events_alone() -> None:
    # Item 0 leads to item 1; the evaluated user met item 0 twenty-one events ago, then only item 2, which leads to 3.
    dataset = dataset_of([[0, 1]] * 3 + [[2, 3]] + [[0, *([2] * 20), 4]])
    train, part = train_on(dataset, 0, 1, 2, 3), evaluate_on(dataset, 4)
    assert lists_of("item_knn", dataset, train, part)[0][0] == 3
    shorter = dataset_of([[0, 1]] * 3 + [[2, 3]] + [[0, *([2] * 19), 4]])
    # Nineteen votes of cosine 1 for item 3 against one of cosine 1 for item 1: second place.
    assert lists_of("item_knn", shorter, train, evaluate_on(shorter, 4))[0][:2] == [3, 1]


def test_item_knn_counts_a_repeating_training_user_once() -> None:
    # Items 0 and 1 share user 0 alone, who met item 1 five times; cosine 1 / sqrt(1 * 2), not more.
    dataset = dataset_of([[0, 1, 1, 1, 1, 1], [1, 2], [0, 0]], n_items=3)
    scores = BASELINES["item_knn"](dataset, train_on(dataset, 0, 1), evaluate_on(dataset, 2))(np.array([0]))
    assert scores[0, 1] == pytest.approx(1 / sqrt(2))


def test_item_knn_puts_popular_items_behind_its_neighbours() -> None:
    dataset = dataset_of([[0, 1], [3, 2], [3, 4], [0, 0]], n_items=6)
    found = lists_of("item_knn", dataset, train_on(dataset, 0, 1, 2), evaluate_on(dataset, 3), k=6)
    assert found == [[1, 3, 0, 2, 4, 5]]


# ---- all of them


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=40)
@given(data=st.data())
def test_baselines_look_at_training_and_input_events_alone(name: str, data: st.DataObject) -> None:
    dataset = data.draw(datasets())
    part = data.draw(eval_parts(dataset))
    # Everybody trains on what is input where evaluated, so that the truth is nobody's to see.
    stops = dataset.user_offsets[1:].copy()
    stops[part.users] = part.truth_starts
    train = TrainPart(np.arange(dataset.n_users), stops)
    items = dataset.items.copy()
    for start, stop in zip(part.truth_starts, part.truth_stops, strict=True):
        items[start:stop] = data.draw(st.integers(0, dataset.n_items - 1))
    changed = replace(dataset, items=items)
    assert lists_of(name, dataset, train, part) == lists_of(name, changed, train, part)


@pytest.mark.parametrize("baseline", BASELINES.values())
@settings(max_examples=40)
@given(data=st.data())
def test_scores_do_not_depend_on_how_rows_are_blocked(baseline: Baseline, data: st.DataObject) -> None:
    dataset = data.draw(datasets())
    part = data.draw(eval_parts(dataset))
    score_rows = baseline(dataset, train_part_of(dataset), part)
    together = score_rows(np.arange(len(part)))
    assert together.dtype == np.float32
    assert together.shape == (len(part), dataset.n_items)
    apart = np.concatenate([score_rows(np.array([row])) for row in range(len(part))])
    assert together.tolist() == apart.tolist()


@given(datasets())
def test_popularity_orders_items_like_a_counter(dataset: Dataset) -> None:
    counts = Counter(dataset.items.tolist())
    expected = sorted(range(dataset.n_items), key=lambda item: (-counts[item], item))
    found = lists_of("popularity", dataset, train_part_of(dataset), eval_part_of(dataset), k=dataset.n_items)
    assert found == [expected] * dataset.n_users


def test_all_baselines_are_evaluated_by_name() -> None:
    dataset = dataset_of([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    found = evaluate_baselines(dataset, train_part_of(dataset, 1), eval_part_of(dataset), seen="keep")
    assert list(found) == ["popularity", "recent_popularity", "own_items", "item_knn"]
    assert all(0 <= evaluation.metrics["ndcg_at_10"] <= 1 for evaluation in found.values())

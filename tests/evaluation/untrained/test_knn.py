"""Item-kNN by hand and against a literal search, with a query that is cut or fades."""

import tracemalloc
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from ranked_lists import evaluate_on, lists_of, train_on
from scipy.sparse import csr_array
from strategies import DAY, dataset_of, eval_part_of, train_part_of

from hrnn_hpo.evaluation.baselines import (
    BASELINES,
)
from hrnn_hpo.evaluation.protocols import evaluate
from hrnn_hpo.evaluation.untrained import knn
from hrnn_hpo.evaluation.untrained.knn import nearest_items


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
        patch.setattr(knn, "PRODUCT_BLOCK", block)
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


def test_one_popular_item_does_not_widen_the_rows_of_all_others() -> None:
    # Everybody has item 0 and one item of their own: 3,000 items with one neighbour, and one with 3,000.
    n = 3_000
    users, items = np.repeat(np.arange(n), 2), np.stack([np.zeros(n, dtype=int), np.arange(1, n + 1)], axis=1).ravel()
    taken = csr_array((np.ones(2 * n, dtype=np.float32), (users, items)), shape=(n, n + 1))
    nearest_items(taken, 5)  # imports are not counted
    tracemalloc.start()
    found = nearest_items(taken, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.nnz == n + 5
    assert peak < 4_000_000  # rows as long as item 0's would be 3,001 x 3,001 float32, 36 MB


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


def test_faded_item_knn_by_hand() -> None:
    # Item 0 leads to item 1 and item 2 to item 3, with cosine 1 each; the query is 0, 2, 2 from the oldest on.
    dataset = dataset_of([[0, 1], [2, 3], [0, 2, 2, 4]])
    train, part = train_on(dataset, 0, 1), evaluate_on(dataset, 2)
    scores = BASELINES["item_knn_decay"](dataset, train, part, {"half_life": "1 event"})(np.array([0]))
    assert scores[0, [1, 3]] == pytest.approx([1 / 4, 1 + 1 / 2])
    times = [[0, 0], [0, 0], [0, 3 * DAY, 4 * DAY, 5 * DAY]]
    dated = dataset_of([[0, 1], [2, 3], [0, 2, 2, 4]], times=times)
    by_day = BASELINES["item_knn_decay"](dated, train, part, {"half_life": "2 days"})(np.array([0]))
    assert by_day[0, [1, 3]] == pytest.approx([1 / 4, 1 + 1 / sqrt(2)])

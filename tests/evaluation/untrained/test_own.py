"""The user's own items, faded, and those of similar users beside them (TIFU-kNN)."""

import tracemalloc

import numpy as np
import pytest
from ranked_lists import evaluate_on, lists_of, train_on
from strategies import DAY, dataset_of, eval_part_of, train_part_of

from hrnn_hpo.evaluation.baselines import (
    BASELINES,
)
from hrnn_hpo.evaluation.protocols import evaluate
from hrnn_hpo.evaluation.untrained import own
from hrnn_hpo.evaluation.untrained.own import basket_vectors


def test_own_items_come_by_recency_weighted_frequency_before_popular_ones() -> None:
    # Age counts from the last input event (day 240): item 2 weighs 1, item 1 1/2, item 0 twice 1/4; the tie goes to 0.
    assert BASELINES["own_items"].defaults == {"half_life": "120 days"}
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


def test_basket_vectors_by_hand() -> None:
    # Nine baskets, the last of two items: the newest seven are a group, the two before them another.
    items = [0, 1, 2, 2, 2, 2, 2, 2, 3, 4]
    times = [0, 10, 20, 30, 40, 50, 60, 70, 80, 80]
    dataset = dataset_of([items], times=[times])
    found = basket_vectors(dataset, np.array([0]), np.array([10]), 0.5).toarray()[0]
    newest = np.array([0, 0, sum(0.9**back for back in range(1, 7)), 1, 1]) / 7
    oldest = np.array([0.9, 1, 0, 0, 0]) / 2
    assert found == pytest.approx((newest + 0.5 * oldest) / 2)


def test_tifu_knn_by_hand() -> None:
    # One basket each: vectors are sets. The asked user had 0 and 1; users 0 and 1 are at distance 1, user 2 further.
    histories = [[0, 1, 2], [0], [3, 4], [0, 1, 5]]
    times = [[0, 0, 0], [0], [0, 0], [0, 0, 60]]
    dataset = dataset_of(histories, times=times)
    train, part = train_on(dataset, 0, 1, 2), evaluate_on(dataset, 3)
    constants = {"group_decay": 0.9, "own_share": 0.7, "neighbours": 2}
    scores = BASELINES["tifu_knn"](dataset, train, part, constants)(np.array([0]))[0]
    assert scores[:3] == pytest.approx([0.7 + 0.3 * 2 / 2, 0.7 + 0.3 / 2, 0.3 / 2])
    assert (scores[3:] < 0).all()


def test_distances_to_many_people_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    dataset = dataset_of(rng.integers(0, 4, (1_000, 4)).tolist())
    train, part = train_part_of(dataset, 1), eval_part_of(dataset)
    constants = {"group_decay": 0.9, "own_share": 0.5, "neighbours": 3}
    score, rows = BASELINES["tifu_knn"](dataset, train, part, constants), np.arange(1_000)
    whole = score(rows)
    monkeypatch.setattr(own, "DISTANCES_AT_ONCE", 25_000, raising=False)
    tracemalloc.start()
    pieces = score(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # 1,000 x 1,000 float32 are 4 MB, and it takes several of them
    assert pieces.tolist() == whole.tolist()


def test_nobody_is_a_neighbour_of_oneself() -> None:
    dataset = dataset_of([[0, 0, 1], [2, 3, 3]], times=[[0, 0, 60], [0, 0, 60]])
    train, part = train_part_of(dataset, 1), eval_part_of(dataset)
    constants = {"group_decay": 0.9, "own_share": 0.5, "neighbours": 1}
    scores = BASELINES["tifu_knn"](dataset, train, part, constants)(np.array([0]))[0]
    assert scores[[0, 2, 3]] == pytest.approx([0.5 * 2, 0.5, 0.5])

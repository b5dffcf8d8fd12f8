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
from hrnn_hpo.evaluation.baselines import (
    BASELINES,
    Baseline,
    Chooser,
    choose_constants,
    constants_note,
    evaluate_baselines,
    left_out_note,
)
from hrnn_hpo.evaluation.protocols import evaluate, rank
from hrnn_hpo.evaluation.untrained import ease, knn
from hrnn_hpo.evaluation.untrained.knn import nearest_items
from hrnn_hpo.evaluation.untrained.own import basket_vectors


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
    assert together == pytest.approx(apart, rel=1e-4, abs=1e-5)  # products of other shapes round otherwise


@given(datasets())
def test_popularity_orders_items_like_a_counter(dataset: Dataset) -> None:
    counts = Counter(dataset.items.tolist())
    expected = sorted(range(dataset.n_items), key=lambda item: (-counts[item], item))
    found = lists_of("popularity", dataset, train_part_of(dataset), eval_part_of(dataset), k=dataset.n_items)
    assert found == [expected] * dataset.n_users


def test_all_baselines_are_evaluated_by_name() -> None:
    dataset = dataset_of([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    found = evaluate_baselines(dataset, train_part_of(dataset, 1), eval_part_of(dataset), seen="keep")
    assert list(found.evaluations) == [
        "popularity",
        "recent_popularity",
        "own_items",
        "item_knn",
        "item_knn_decay",
        "ease",
    ]
    assert all(0 <= metrics["ndcg_at_10"] <= 1 for metrics in found.metrics.values())
    repeating = dataset_of([[0, 1, 0, 2], [1, 2, 1, 0], [2, 0, 2, 1]])
    more = evaluate_baselines(repeating, train_part_of(repeating, 1), eval_part_of(repeating), seen="keep")
    assert list(more.evaluations) == list(BASELINES)


# ---- faded item-kNN


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


# ---- EASE


def textbook_ease(sets: NDArray[np.float64], regularization: float) -> NDArray[np.float64]:
    """Return B of Steck 2019, algorithm 1."""
    inverse = np.linalg.inv(sets.T @ sets + regularization * np.eye(sets.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


FIVE = [[0, 1, 2], [0, 1], [1, 2, 3], [3, 4], [2, 3, 4], [0, 4], [1, 3]]


@pytest.mark.parametrize("histories", [FIVE, FIVE[:3]])  # more users than items, and fewer: the other way to B
def test_ease_equals_the_textbook_on_five_items(histories: list[list[int]]) -> None:
    dataset = dataset_of([*histories, [0, 3, 3, 4]], n_items=5)
    users = range(len(histories))
    sets = np.zeros((len(histories), 5))
    for user, items in enumerate(histories):
        sets[user, items] = 1.0
    query = np.array([1.0, 0, 0, 1, 0])  # item 3 twice in the input is once in the set
    for regularization in (0.5, 10.0):
        scores = BASELINES["ease"](
            dataset,
            train_on(dataset, *users),
            evaluate_on(dataset, len(histories)),
            {"regularization": regularization},
        )(np.array([0]))
        assert scores[0] == pytest.approx(query @ textbook_ease(sets, regularization), abs=1e-5)


def test_ease_is_made_in_float64_where_float32_is_too_coarse() -> None:
    taken = csr_array(np.ones((3_000, 2), dtype=np.float32) * 100)  # singular, and far from its regularization
    inverse = ease._inverse(taken, None, 1e-3)
    large = 3_000 * 100.0**2
    exact = np.linalg.inv(np.array([[large + 1e-3, large], [large, large + 1e-3]]))
    assert inverse == pytest.approx(exact, rel=1e-3)


def test_ease_of_many_items_is_mirrored_block_by_block() -> None:
    rng = np.random.default_rng(0)
    lower = np.asfortranarray(np.tril(rng.random((2_100, 2_100))))
    whole = lower + np.tril(lower, -1).T
    lower += np.triu(np.full(lower.shape, 7.0), 1)  # what the upper triangle holds is no matter
    ease._mirror(lower)
    assert (lower == whole).all()


def test_ease_gives_popular_items_to_who_had_unknown_ones_alone() -> None:
    dataset = dataset_of([[0, 1], [1, 0], [1, 0], [1, 1], [2, 3]])
    found = lists_of("ease", dataset, train_on(dataset, 0, 1, 2, 3), evaluate_on(dataset, 4), k=2)
    assert found == [[1, 0]]


def test_ease_is_left_out_where_its_matrix_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    monkeypatch.setattr(ease, "LARGEST_SIDE", 2)
    found = evaluate_baselines(dataset, train_part_of(dataset, 1), eval_part_of(dataset), seen="keep")
    assert "ease" not in found.evaluations
    assert left_out_note(found.left_out) == (
        "Left out: ease, since it inverts a matrix of items or of training users, of 2 at most (1.6 GB), but there are "
        "3 items and 3 training users."
    )
    assert left_out_note({}) is None
    told: list[str] = []
    monkeypatch.undo()
    monkeypatch.setattr(ease, "LONG_SIDE", 3)
    evaluate_baselines(dataset, train_part_of(dataset, 1), eval_part_of(dataset), seen="keep", tell=told.append)
    assert told == ["ease inverts a matrix of 3 by 3: up to two minutes, 0.0 GB."]
    monkeypatch.setattr(baselines, "MANY_SCORES", 8)
    evaluate_baselines(dataset, train_part_of(dataset, 1), eval_part_of(dataset), seen="keep", tell=told.append)
    assert told[1] == "Comparing with the baselines on 3 users; their constants are chosen first."


def test_ease_beside_own_items_adds_both_scores() -> None:
    dataset = dataset_of([*FIVE, [0, 3, 0, 4]], n_items=5)
    train, part = train_on(dataset, *range(7)), evaluate_on(dataset, 7)
    constants = {"weight": 0.5, "half_life": "1 event", "regularization": 1.0}
    linear = BASELINES["ease"](dataset, train, part, constants)(np.array([0]))[0]
    mixed = BASELINES["ease_own_items"](dataset, train, part, constants)(np.array([0]))[0]
    # Item 0 weighs 1 + 1/4 and item 3 1/2, of 7/4. EASE's scores of own items are negative here, and count as nothing.
    expected = 0.5 * linear / np.abs(linear).max()
    assert expected[[0, 3]].max() < 0
    expected[[0, 3]] = 5 / 7, 2 / 7
    assert mixed == pytest.approx(expected, abs=1e-6)


# ---- TIFU-kNN


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


def test_nobody_is_a_neighbour_of_oneself() -> None:
    dataset = dataset_of([[0, 0, 1], [2, 3, 3]], times=[[0, 0, 60], [0, 0, 60]])
    train, part = train_part_of(dataset, 1), eval_part_of(dataset)
    constants = {"group_decay": 0.9, "own_share": 0.5, "neighbours": 1}
    scores = BASELINES["tifu_knn"](dataset, train, part, constants)(np.array([0]))[0]
    assert scores[[0, 2, 3]] == pytest.approx([0.5 * 2, 0.5, 0.5])


# ---- constants


def test_constants_are_chosen_by_validation_users_alone() -> None:
    """The validation users' habits are old, the test users' new; what is chosen follows the first."""
    old, new = [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]
    dataset = dataset_of([old] * 5 + [new] * 5)
    chooser = Chooser(train_part_of(dataset, 1), evaluate_on(dataset, *range(5)), "mrr_at_25")
    short = Baseline(BASELINES["own_items"].fit, {"half_life": ("1 event", "100 events")})
    assert choose_constants(short, dataset, chooser, seen="keep") == {"half_life": "100 events"}
    flipped = Chooser(chooser.train, evaluate_on(dataset, *range(5, 10)), "mrr_at_25")
    assert choose_constants(short, dataset, flipped, seen="keep") == {"half_life": "1 event"}
    found = evaluate_baselines(
        dataset, chooser.train, evaluate_on(dataset, *range(5, 10)), seen="keep", chooser=chooser
    )
    assert found.constants["own_items"] == {"half_life": "120 days"}  # as good as any: all within minutes
    assert set(found.constants) == {name for name, baseline in BASELINES.items() if baseline.grid}


def test_constants_are_told_in_a_sentence() -> None:
    told = constants_note({"ease": {"regularization": 1_000.0}, "own_items": {"half_life": "30 days"}})
    assert told == (
        "Constants of the baselines, chosen on validation users: ease regularization 1000; own_items half_life 30 days."
    )
    assert constants_note({}) is None

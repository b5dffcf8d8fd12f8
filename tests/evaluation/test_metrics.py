"""Per-user metrics: hand-worked figures, a literal reference, and the relations that the definitions promise."""

from math import isnan, log2, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score
from strategies import truth_lists

from hrnn_hpo.evaluation.metrics import (
    METRICS,
    USER_METRICS,
    VALUE_WEIGHTED_METRICS,
    Truth,
    coverage,
    truth_metrics,
)

Rows = list[tuple[list[int], list[int]]]


def metrics_of(rows: Rows, values: list[list[float]] | None = None) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of (ranked list, truth events) pairs."""
    top_items = np.full((len(rows), 25), -1, dtype=np.int32)
    for row, (ranked, _) in enumerate(rows):
        top_items[row, : len(ranked)] = ranked
    events = np.array([item for _, truth in rows for item in truth], dtype=np.int32)
    offsets = np.cumsum([0, *(len(truth) for _, truth in rows)])
    flat = None if values is None else np.array([value for row in values for value in row])
    return truth_metrics(top_items, Truth.from_events(events, offsets, flat))


def literal_metrics(ranked: list[int], gains: dict[int, float]) -> dict[str, float]:
    """Return the metrics of one user from the definitions, with a gain for each relevant item."""
    best_first = sorted(gains.values(), reverse=True)
    found: dict[str, float] = {}
    for k in (5, 10, 25):
        found[f"precision_at_{k}"] = sum(gains.get(item, 0) for item in ranked[:k]) / k
        dcg = sum(gains.get(item, 0) / log2(1 + p) for p, item in enumerate(ranked[:k], start=1))
        found[f"ndcg_at_{k}"] = dcg / sum(gain / log2(1 + p) for p, gain in enumerate(best_first[:k], start=1))
    found["mrr_at_25"] = max((gains.get(item, 0) / p for p, item in enumerate(ranked[:25], start=1)), default=0)
    found["recall_at_10"] = sum(gains.get(item, 0) for item in ranked[:10]) / sum(best_first)
    found["hit_rate_at_10"] = max((gains.get(item, 0) for item in ranked[:10]), default=0)
    return found


def test_two_relevant_items_hit_at_positions_2_and_5() -> None:
    found = metrics_of([([90, 1, 91, 92, 2], [1, 2])])
    assert found["ndcg_at_5"][0] == pytest.approx((1 / log2(3) + 1 / log2(6)) / (1 + 1 / log2(3)))
    assert round(found["ndcg_at_5"][0], 4) == 0.6241
    assert found["mrr_at_25"][0] == 1 / 2
    assert found["precision_at_5"][0] == 2 / 5
    assert found["precision_at_10"][0] == 2 / 10
    assert found["precision_at_25"][0] == 2 / 25
    assert found["recall_at_10"][0] == 1
    assert found["hit_rate_at_10"][0] == 1


def test_precision_divides_by_k_where_the_list_is_shorter() -> None:
    assert metrics_of([([1], [1])])["precision_at_25"][0] == 1 / 25


def test_the_best_list_holds_no_more_than_k_of_many_relevant_items() -> None:
    found = metrics_of([(list(range(5)), list(range(30)))])
    assert found["ndcg_at_5"][0] == 1
    assert found["ndcg_at_10"][0] < 1
    assert found["recall_at_10"][0] == 5 / 30


def test_a_hit_beyond_position_10_counts_for_mrr_alone() -> None:
    found = metrics_of([([*range(100, 115), 1], [1])])
    assert found["mrr_at_25"][0] == 1 / 16
    assert found["hit_rate_at_10"][0] == found["recall_at_10"][0] == found["ndcg_at_10"][0] == 0


def test_repeated_truth_items_count_once() -> None:
    once, thrice = metrics_of([([5, 1], [1, 2])]), metrics_of([([5, 1], [1, 2, 1, 1])])
    assert {name: values.tolist() for name, values in once.items()} == {
        name: values.tolist() for name, values in thrice.items()
    }


def test_pads_are_misses_even_beside_item_zero() -> None:
    found = metrics_of([([], [0]), ([3], [0, 1])])
    assert all((values == 0).all() for values in found.values())


def test_items_unknown_to_the_truth_are_misses_of_the_right_user() -> None:
    # With keys row * stride + item, a large item of row 0 must not pass for a small item of row 1.
    found = metrics_of([([3, 4, 5, 2], [0]), ([9], [1, 2])])
    assert found["hit_rate_at_10"].tolist() == [0, 0]


def test_longer_lists_are_cut_and_shorter_ones_padded_to_25() -> None:
    truth = Truth.from_events(np.array([29]), np.array([0, 1]))
    assert truth_metrics(np.arange(30)[None, :], truth)["mrr_at_25"][0] == 0
    assert truth_metrics(np.array([[7, 29]]), truth)["mrr_at_25"][0] == 1 / 2


def test_names_are_those_of_the_plain_metrics_in_order() -> None:
    assert tuple(metrics_of([([1], [1])])) == USER_METRICS == METRICS[:-1]
    assert tuple(metrics_of([([1], [1])], [[1.0]])) == USER_METRICS + VALUE_WEIGHTED_METRICS


@given(truth_lists())
def test_vectorised_metrics_equal_the_literal_definitions(rows: Rows) -> None:
    found = metrics_of(rows)
    for row, (ranked, truth) in enumerate(rows):
        expected = literal_metrics(ranked, dict.fromkeys(truth, 1.0))
        assert {name: found[name][row] for name in expected} == pytest.approx(expected, abs=1e-12)


@given(truth_lists(), st.data())
def test_value_weighted_metrics_equal_the_literal_definitions(rows: Rows, data: st.DataObject) -> None:
    value = st.one_of(st.just(nan), st.integers(-3, 20).map(float))
    values = [data.draw(st.lists(value, min_size=len(truth), max_size=len(truth))) for _, truth in rows]
    found = metrics_of(rows, values)
    for row, (ranked, truth) in enumerate(rows):
        sums: dict[int, float] = {}
        for item, amount in zip(truth, values[row], strict=True):
            sums[item] = sums.get(item, 0.0) + (0.0 if isnan(amount) else amount)
        largest = max(sums.values())
        if largest <= 0:
            assert all(isnan(found[name][row]) for name in VALUE_WEIGHTED_METRICS)
            continue
        expected = literal_metrics(ranked, {item: max(amount, 0.0) / largest for item, amount in sums.items()})
        assert {name: found[f"value_weighted_{name}"][row] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_value_weighted_metrics_by_hand() -> None:
    # Item 1 is worth 8 (5 + 3), item 2 is worth 2: gains 1 and 1/4. The list finds item 2 first, item 1 third.
    found = metrics_of([([2, 9, 1], [1, 2, 1])], [[5.0, 2.0, 3.0]])
    assert found["value_weighted_precision_at_5"][0] == pytest.approx((1 / 4 + 1) / 5)
    assert found["value_weighted_ndcg_at_5"][0] == pytest.approx((1 / 4 + 1 / log2(4)) / (1 + 1 / 4 / log2(3)))
    assert found["value_weighted_mrr_at_25"][0] == pytest.approx(max(1 / 4, 1 / 3))
    assert found["value_weighted_recall_at_10"][0] == 1
    assert found["value_weighted_hit_rate_at_10"][0] == 1


@given(truth_lists(), st.sampled_from([0.5, 1.0, 64.0]))
def test_equal_values_give_the_plain_metrics(rows: Rows, value: float) -> None:
    distinct = [(ranked, sorted(set(truth))) for ranked, truth in rows]
    found = metrics_of(distinct, [[value] * len(truth) for _, truth in distinct])
    for name in USER_METRICS:
        assert found[f"value_weighted_{name}"].tolist() == found[name].tolist()


@given(truth_lists(), st.data())
def test_metrics_stay_within_0_and_1_and_keep_their_order(rows: Rows, data: st.DataObject) -> None:
    value = st.floats(0.25, 1e6)
    found = metrics_of(rows, [data.draw(st.lists(value, min_size=len(t), max_size=len(t))) for _, t in rows])
    for prefix in ("", "value_weighted_"):
        m = {name: found[prefix + name] for name in USER_METRICS}
        assert all(((values >= 0) & (values <= 1)).all() for values in m.values())
        # More places never lose a hit.
        assert (5 * m["precision_at_5"] <= 10 * m["precision_at_10"] + 1e-12).all()
        assert (10 * m["precision_at_10"] <= 25 * m["precision_at_25"] + 1e-12).all()
        assert (m["mrr_at_25"] <= 25 * m["precision_at_25"] + 1e-12).all()
        assert ((m["mrr_at_25"] > 0) == (m["ndcg_at_25"] > 0)).all()
    assert (found["recall_at_10"] <= found["hit_rate_at_10"]).all()
    assert (found["ndcg_at_10"] <= found["hit_rate_at_10"]).all()
    n_relevant = np.array([len(set(truth)) for _, truth in rows])
    assert found["recall_at_10"] * n_relevant == pytest.approx(found["precision_at_10"] * 10)


@given(truth_lists(max_truth=1))
def test_with_one_relevant_item_mrr_is_at_most_ndcg_and_ndcg_grows_with_k(rows: Rows) -> None:
    found = metrics_of(rows)
    assert (found["mrr_at_25"] <= found["ndcg_at_25"]).all()
    assert (found["ndcg_at_5"] <= found["ndcg_at_10"]).all()
    assert (found["ndcg_at_10"] <= found["ndcg_at_25"]).all()
    assert (found["recall_at_10"] == found["hit_rate_at_10"]).all()


@given(truth_lists(), st.randoms(use_true_random=False))
def test_the_order_of_users_does_not_matter(rows: Rows, random: object) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found, shuffled = metrics_of(rows), metrics_of([rows[row] for row in order])
    assert all(found[name][order].tolist() == shuffled[name].tolist() for name in found)


@given(truth_lists(max_truth=20))
def test_a_list_that_starts_with_the_truth_scores_exactly_1(rows: Rows) -> None:
    perfect = [(sorted(set(truth)), truth) for _, truth in rows]
    found = metrics_of(perfect)
    for name in ("ndcg_at_5", "ndcg_at_10", "ndcg_at_25", "mrr_at_25", "hit_rate_at_10"):
        assert (found[name] == 1).all()


def test_ndcg_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    n_users, n_items = 50, 60
    scores = generator.normal(size=(n_users, n_items))
    value = np.where(generator.random((n_users, n_items)) < 0.2, generator.integers(1, 9, (n_users, n_items)), 0)
    value[:, 0] = 9  # everybody has a truth
    ranked = np.argsort(-scores, axis=1)[:, :25]
    rows, items = np.nonzero(value)
    offsets = np.searchsorted(rows, np.arange(n_users + 1))
    found = truth_metrics(ranked, Truth.from_events(items, offsets, value[rows, items].astype(np.float64)))
    for k in (5, 10, 25):
        plain = [ndcg_score(value[[row]] > 0, scores[[row]], k=k) for row in range(n_users)]
        weighted = [ndcg_score(value[[row]], scores[[row]], k=k) for row in range(n_users)]
        assert found[f"ndcg_at_{k}"] == pytest.approx(plain)
        assert found[f"value_weighted_ndcg_at_{k}"] == pytest.approx(weighted)


def test_truth_sets_are_distinct_ascending_and_sum_their_values() -> None:
    truth = Truth.from_events(np.array([4, 2, 4, 0]), np.array([0, 3, 4]), np.array([1.0, nan, 2.5, -3.0]))
    assert truth.items.tolist() == [2, 4, 0]
    assert truth.offsets.tolist() == [0, 2, 3]
    assert truth.values is not None
    assert truth.values.tolist() == [0.0, 3.5, 0.0]
    assert truth.sizes.tolist() == [2, 1]


def test_truth_finds_hits() -> None:
    truth = Truth.from_events(np.array([4, 2, 0]), np.array([0, 2, 3]))
    assert truth.hits(np.array([[2, -1, 4], [4, 0, -1]])).tolist() == [[True, False, True], [False, True, False]]


def test_an_evaluated_user_without_truth_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="truth"):
        truth_metrics(np.array([[1], [2]]), Truth.from_events(np.array([1]), np.array([0, 1, 1])))


def test_coverage_counts_distinct_items_and_no_pads() -> None:
    assert coverage(np.array([[0, 1, -1], [1, 3, -1]]), n_items=10) == 3 / 10
    assert coverage(np.array([[-1, -1]]), n_items=10) == 0

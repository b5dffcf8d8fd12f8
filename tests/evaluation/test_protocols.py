"""Ranking and averaging: the tie rule, removal of seen items, custom metrics, and the rankings file."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from strategies import dataset_of, datasets, eval_part_of, eval_parts

from hrnn_hpo.data import blocks
from hrnn_hpo.data.repeats import repeat_share
from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.errors import ConfigError, DataError, RunFailedError
from hrnn_hpo.evaluation import protocols
from hrnn_hpo.evaluation.metrics import APART_METRICS, METRICS, USER_METRICS, VALUE_WEIGHTED_METRICS, Truth
from hrnn_hpo.evaluation.protocols import (
    ScoreRows,
    evaluate,
    evaluate_both,
    evaluate_ranking,
    make_truth,
    own_truth,
    rank,
    require_metrics,
    resolve_seen,
    top_k,
)


def scores_from(table: NDArray[np.float32]) -> ScoreRows:
    """Return a scorer that reads the rows of a table (R, V)."""
    return lambda rows: table[rows].copy()


def literal_top(scores: list[float], k: int) -> list[int]:
    """Return the ranked columns of one row by sorting all of them."""
    order = sorted((column for column in range(len(scores)) if scores[column] > -inf), key=lambda c: (-scores[c], c))
    return (order + [-1] * k)[:k]


# ---- top_k


def test_equal_scores_are_ranked_by_the_lower_column() -> None:
    assert top_k(np.array([[1, 3, 3, 0, 3]], dtype=np.float32), 2).tolist() == [[1, 2]]


def test_a_tie_at_the_border_keeps_what_is_above_it() -> None:
    assert top_k(np.array([[5, 5, 9, 5, 7]], dtype=np.float32), 3).tolist() == [[2, 4, 0]]


def test_zero_and_minus_zero_are_equal_scores() -> None:
    assert top_k(np.array([[-0.0, 0.0, -0.0]], dtype=np.float32), 2).tolist() == [[0, 1]]


def test_items_taken_out_are_pads() -> None:
    assert top_k(np.array([[-inf, 1, -inf], [-inf, -inf, -inf]], dtype=np.float32), 2).tolist() == [[1, -1], [-1, -1]]


def test_lists_longer_than_the_catalogue_are_padded() -> None:
    assert top_k(np.array([[1, 2]], dtype=np.float32), 4).tolist() == [[1, 0, -1, -1]]


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 40)),
        elements=st.sampled_from([-inf, -1.0, -0.0, 0.0, 0.5, 1.0, inf]),  # few values: ties everywhere
    ),
    st.integers(1, 30),
)
def test_top_k_equals_sorting_every_row(scores: NDArray[np.float32], k: int) -> None:
    assert top_k(scores.copy(), k).tolist() == [literal_top(row, k) for row in scores.tolist()]


def test_top_k_leaves_read_only_scores_alone() -> None:
    scores = np.broadcast_to(np.array([0.0, 2.0, 1.0], dtype=np.float32), (2, 3))
    assert top_k(scores, 2).tolist() == [[1, 2], [1, 2]]


# ---- rank


def test_seen_items_leave_the_list_and_pads_fill_it() -> None:
    dataset = dataset_of([[0, 1, 3], [2, 1]], n_items=4)
    part = eval_part_of(dataset)  # inputs {0, 1} and {2}
    table = np.array([[9, 8, 7, 6], [9, 8, 7, 6]], dtype=np.float32)
    assert rank(dataset, part, scores_from(table), seen="keep", k=4).tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert rank(dataset, part, scores_from(table), seen="remove", k=4).tolist() == [[2, 3, -1, -1], [0, 1, 3, -1]]


def test_a_repeat_in_the_truth_is_a_miss_when_seen_items_are_removed() -> None:
    dataset = dataset_of([[0, 1, 0]], n_items=3)
    part = eval_part_of(dataset)
    scorer = scores_from(np.array([[3, 2, 1]], dtype=np.float32))
    assert evaluate(dataset, part, scorer, seen="keep").metrics["hit_rate_at_10"] == 1
    assert evaluate(dataset, part, scorer, seen="remove").metrics["hit_rate_at_10"] == 0


def test_a_truth_item_is_no_seen_item() -> None:
    dataset = dataset_of([[0, 1, 2]], n_items=3)
    scorer = scores_from(np.zeros((1, 3), dtype=np.float32))
    assert rank(dataset, eval_part_of(dataset, 2), scorer, seen="remove", k=3).tolist() == [[1, 2, -1]]


@given(st.data(), st.sampled_from(["remove", "keep"]), st.sampled_from([None, 1, 2]))
def test_rank_equals_a_literal_ranking(data: st.DataObject, seen: protocols.Seen, block_rows: int | None) -> None:
    dataset = data.draw(datasets())
    part = data.draw(eval_parts(dataset))
    score = st.integers(0, 4)  # few values: ties everywhere
    table = data.draw(arrays(np.float32, (len(part), dataset.n_items), elements=score))
    found = rank(dataset, part, scores_from(table), seen=seen, block_rows=block_rows)
    for row, user in enumerate(part.users):
        scores = table[row].tolist()
        if seen == "remove":
            for event in range(dataset.user_offsets[user], part.truth_starts[row]):
                scores[dataset.items[event]] = -inf
        assert found[row].tolist() == literal_top(scores, 25)


def test_a_nan_score_fails_the_run_and_names_user_and_item() -> None:
    dataset = dataset_of([[0, 1, 2], [0, 1, 2]])
    table = np.zeros((2, 3), dtype=np.float32)
    table[1, 0] = nan  # user 1 has seen item 0: removal must not hide it
    with pytest.raises(RunFailedError, match="user u1 got NaN for item i00"):
        rank(dataset, eval_part_of(dataset), scores_from(table), seen="remove")


def test_blocks_of_scores_stay_under_32_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of([[0, 1]] * 10, n_items=8)
    monkeypatch.setattr(protocols, "SCORE_BLOCK_BYTES", 3 * 8 * 4)
    blocks: list[int] = []

    def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        blocks.append(len(rows))
        return np.zeros((len(rows), 8), dtype=np.float32)

    rank(dataset, eval_part_of(dataset), score_rows, seen="keep")
    assert blocks == [3, 3, 3, 1]


# ---- seen


def test_auto_removes_seen_items_where_repeats_are_rare() -> None:
    rare = dataset_of([list(range(100)), [*range(100), 0]])  # 1 of 201 events
    assert repeat_share(rare) == 1 / 201
    assert resolve_seen(rare, "auto") == "remove"


def test_auto_keeps_seen_items_from_one_percent_on() -> None:
    common = dataset_of([[*range(99), 0]])  # 1 of 100 events
    assert repeat_share(common) == 1 / 100
    assert resolve_seen(common, "auto") == "keep"


def test_an_explicit_choice_stands() -> None:
    dataset = dataset_of([[0, 0, 0]])
    assert resolve_seen(dataset, "remove") == "remove"
    assert resolve_seen(dataset, "keep") == "keep"


# ---- evaluate


def test_figures_are_averages_over_users_with_coverage_beside_them() -> None:
    dataset = dataset_of([[0, 1], [0, 2], [0, 3]], n_items=30)
    part = eval_part_of(dataset)
    lists = np.full((3, 25), -1, dtype=np.int32)
    lists[0, 0], lists[1, :2] = 1, [9, 2]  # first place, second place, no list
    found = evaluate_ranking(dataset, part, lists)
    assert tuple(found.metrics) == METRICS
    assert found.metrics["mrr_at_25"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found.metrics["hit_rate_at_10"] == pytest.approx(2 / 3)
    assert found.metrics["coverage"] == 3 / 30
    assert found.per_user["mrr_at_25"].tolist() == [1, 1 / 2, 0]
    assert tuple(found.per_user) == USER_METRICS
    assert found.users.tolist() == [0, 1, 2]


def test_a_scorer_that_knows_the_truth_scores_1() -> None:
    dataset = dataset_of([[0, 1, 2, 3], [4, 5, 6, 7]], n_items=50)
    part = eval_part_of(dataset, 2)
    table = np.zeros((2, 50), dtype=np.float32)
    table[0, [2, 3]] = table[1, [6, 7]] = 1
    found = evaluate(dataset, part, scores_from(table), seen="remove").metrics
    assert found["ndcg_at_10"] == found["mrr_at_25"] == found["recall_at_10"] == 1
    assert found["precision_at_5"] == 2 / 5


@given(st.data())
def test_both_ways_of_seen_equal_two_evaluations(data: st.DataObject) -> None:
    dataset = data.draw(datasets())
    part = data.draw(eval_parts(dataset))
    table = data.draw(arrays(np.float32, (len(part), dataset.n_items), elements=st.integers(0, 9)))
    both = evaluate_both(dataset, part, scores_from(table))
    for seen in ("keep", "remove"):
        alone = evaluate(dataset, part, scores_from(table), seen=seen)
        assert both[seen].metrics == alone.metrics
        assert both[seen].top_items.tolist() == alone.top_items.tolist()


def test_value_weighted_figures_leave_out_users_without_value() -> None:
    dataset = dataset_of([[0, 1], [0, 2], [0, 3]], values=[[1, 5], [1, nan], [1, 2]])
    part = eval_part_of(dataset)
    lists = np.array([[1], [2], [0]])
    found = evaluate_ranking(dataset, part, lists, value_weighted=True)
    assert tuple(found.metrics) == METRICS + VALUE_WEIGHTED_METRICS
    assert found.metrics["hit_rate_at_10"] == pytest.approx(2 / 3)
    assert found.metrics["value_weighted_hit_rate_at_10"] == 1 / 2


@pytest.mark.parametrize("values", [None, [[1, nan]], [[1, 0]]])
def test_value_weighting_without_values_is_an_error_of_the_data(values: list[list[float]] | None) -> None:
    dataset = dataset_of([[0, 1]], values=values)
    with pytest.raises(DataError, match="EVENT_VALUE"):
        evaluate_ranking(dataset, eval_part_of(dataset), np.array([[1]]), value_weighted=True)


def test_values_that_cancel_out_are_refused_before_anything_is_scored() -> None:
    dataset = dataset_of([[0, 1, 1], [0, 2, 3]], values=[[1, 5, -6], [1, 0, nan]])  # item 1 comes to -1, which is none
    part = eval_part_of(dataset, 2)
    with pytest.raises(DataError, match="need a positive EVENT_VALUE"):
        require_metrics(dataset, part, value_weighted=True)
    kept = dataset_of([[0, 1, 1], [0, 2, 3]], values=[[1, 5, -4], [1, 0, nan]])
    require_metrics(kept, part, value_weighted=True)


def test_an_empty_part_is_an_error_of_the_data() -> None:
    nobody = np.empty(0, dtype=np.int64)
    with pytest.raises(DataError, match="part is empty"):
        evaluate_ranking(dataset_of([[0, 1]]), EvalPart(nobody, nobody, nobody), np.empty((0, 25), dtype=np.int32))


def test_an_item_listed_twice_is_a_mistake_of_ours() -> None:
    dataset = dataset_of([[0, 1]])
    with pytest.raises(AssertionError, match="once"):
        evaluate_ranking(dataset, eval_part_of(dataset), np.array([[1, 0, 1]]))


def test_a_custom_metric_stands_behind_the_others() -> None:
    dataset = dataset_of([[0, 1, 2], [0, 1, 2]])
    part = eval_part_of(dataset, 2)

    def found_all(top_items: NDArray[np.int32], truth: Truth) -> NDArray[np.float64]:
        return (truth.hits(top_items).sum(axis=1) == truth.sizes).astype(np.float64)

    lists = np.array([[2, 1], [2, 0]])
    found = evaluate_ranking(dataset, part, lists, extra_metrics={"found_all": found_all})
    assert tuple(found.metrics) == (*METRICS, "found_all")
    assert found.metrics["found_all"] == 1 / 2
    assert found.per_user["found_all"].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["ndcg_at_10", "coverage", "value_weighted_ndcg_at_10", "hits@3", ""])
def test_a_custom_metric_needs_a_name_of_its_own(name: str) -> None:
    dataset = dataset_of([[0, 1]])
    with pytest.raises(ConfigError, match="name"):
        evaluate_ranking(
            dataset, eval_part_of(dataset), np.array([[1]]), extra_metrics={name: lambda top, truth: np.zeros(1)}
        )


@pytest.mark.parametrize("result", [np.zeros(2), np.array(0.5), np.array([nan])])
def test_a_custom_metric_returns_a_finite_number_for_each_user(result: NDArray[np.float64]) -> None:
    dataset = dataset_of([[0, 1]])
    with pytest.raises(ConfigError, match="'mine' must return a finite number for each of 1 users"):
        evaluate_ranking(
            dataset, eval_part_of(dataset), np.array([[1]]), extra_metrics={"mine": lambda top, truth: result}
        )


# ---- repeats and new items apart


def test_figures_for_repeats_and_new_items_by_hand() -> None:
    # u0 had 0 and 1 and takes 1 and 5; u1 had 2 and takes 6; u2 had 3 and takes 3.
    dataset = dataset_of([[0, 1, 1, 5], [2, 6], [3, 3]], n_items=8)
    part = EvalPart(np.array([0, 1, 2]), np.array([2, 5, 7]), np.array([4, 6, 8]))
    table = np.zeros((3, 8), dtype=np.float32)
    table[0, [0, 1, 4, 5]] = [9, 8, 7, 6]  # 0 1 4 5: the repeat stands second; without own items 4 5
    table[1, [2, 7, 6]] = [9, 8, 7]  # 2 7 6, without own items 7 6
    table[2, [5, 3]] = [9, 8]
    found = evaluate(dataset, part, scores_from(table), seen="keep", apart=True)
    assert found.per_user["mrr_at_25_repeats"].tolist() == pytest.approx([1 / 2, nan, 1 / 2], nan_ok=True)
    assert found.per_user["mrr_at_25_new"].tolist() == pytest.approx([1 / 2, 1 / 2, nan], nan_ok=True)
    assert found.metrics["ndcg_at_10_new"] == pytest.approx(1 / np.log2(3))
    assert found.metrics["hit_rate_at_10_repeats"] == 1
    assert tuple(found.metrics) == (*METRICS, *APART_METRICS)
    plain = evaluate(dataset, part, scores_from(table), seen="keep")
    assert {name: found.metrics[name] for name in METRICS} == plain.metrics


def test_without_own_items_in_the_lists_nothing_is_said_of_repeats() -> None:
    dataset = dataset_of([[0, 0, 1]], n_items=3)
    part = eval_part_of(dataset)
    table = np.array([[3, 1, 2]], dtype=np.float32)
    removed = evaluate(dataset, part, scores_from(table), seen="remove", apart=True).metrics
    assert removed["mrr_at_25_new"] == removed["mrr_at_25"] == 1 / 2
    assert "mrr_at_25_repeats" not in removed
    both = evaluate_both(dataset, part, scores_from(table), apart=True)
    assert both["remove"].metrics == removed
    assert both["keep"].metrics == evaluate(dataset, part, scores_from(table), seen="keep", apart=True).metrics
    assert "mrr_at_25_repeats" not in both["keep"].metrics  # no user repeats an item in the truth


@given(st.data())
def test_own_truth_is_what_stands_in_the_input_however_it_is_read(data: st.DataObject) -> None:
    dataset = data.draw(datasets())
    part = data.draw(eval_parts(dataset))
    truth = make_truth(dataset, part)
    expected = [
        int(item) in dataset.items[dataset.user_offsets[part.users[row]] : part.truth_starts[row]].tolist()
        for row, item in zip(truth.rows, truth.items, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "EVENTS_AT_ONCE", data.draw(st.integers(1, 40)))
        assert own_truth(dataset, part, truth).tolist() == expected

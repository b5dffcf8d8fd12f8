"""What holds for all baselines: what they look at, blocks, names, and who chooses their constants."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_lists import evaluate_on, lists_of
from strategies import dataset_of, datasets, eval_part_of, eval_parts, train_part_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.evaluation.baselines import (
    BASELINES,
    Baseline,
    Chooser,
    choose_constants,
    constants_note,
    evaluate_baselines,
)


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

"""EASE against the textbook's formula, its limits, and EASE beside own items."""

import numpy as np
import pytest
from numpy.typing import NDArray
from ranked_lists import evaluate_on, lists_of, train_on
from scipy.sparse import csr_array
from strategies import dataset_of, eval_part_of, train_part_of

from hrnn_hpo.evaluation import baselines
from hrnn_hpo.evaluation.baselines import (
    BASELINES,
    evaluate_baselines,
    left_out_note,
)
from hrnn_hpo.evaluation.untrained import ease


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

"""Replays user by user: what a study sees, what is true, and when its incumbent has arrived."""

import math

import numpy as np
import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search import races
from scripts.benchmarks.search.curves import EPOCHS, Curve, Users
from scripts.benchmarks.search.races import Replay, incumbents, replays, share_of_epochs


@pytest.fixture(scope="module")
def recorded() -> tuple[list[Curve], Users]:
    """Return four configurations of 60 users, each better than the one before and rising with the epochs."""
    curves = [
        Curve({"hidden_dimension": 16 * (n + 1), "output_dropout": 0.1 * n, "learning_rate": 0.001 * (n + 1)}, [])
        for n in range(4)
    ]
    rng = np.random.default_rng(0)
    rise = np.linspace(0.5, 1.0, EPOCHS)[None, :, None]
    level = np.array([0.1, 0.2, 0.3, 0.4])[:, None, None]
    return curves, level * rise + rng.normal(0.0, 0.01, (4, EPOCHS, 60))


def test_a_study_sees_some_users_and_the_others_are_the_truth(recorded: tuple[list[Curve], Users]) -> None:
    curves, users = recorded
    one, other = replays(curves, [users], 20, 2)
    assert one.seen.shape == (4, EPOCHS, 20)
    np.testing.assert_allclose(one.scores * 20 + one.truth * 40, users.sum(axis=2))
    assert not np.allclose(one.scores, other.scores)  # another seed draws others
    assert one.true_score(3) == one.truth[3, one.scores[3].argmax()]
    [everyone] = replays(curves, [users], None, 1)
    np.testing.assert_allclose(everyone.scores, everyone.truth)


def test_of_several_draws_a_study_sees_one_and_their_mean_is_true(recorded: tuple[list[Curve], Users]) -> None:
    curves, users = recorded
    draws = [users[:, :, :20], users[:, :, 20:40], users[:, :, 40:]]
    found = list(replays(curves, draws, None, 4))
    for replay, draw in zip(found, [0, 1, 2, 0], strict=True):
        np.testing.assert_array_equal(replay.seen, draws[draw])
        np.testing.assert_allclose(replay.truth, users.mean(axis=2))


def test_a_search_arrives_with_the_first_good_incumbent(recorded: tuple[list[Curve], Users]) -> None:
    curves, users = recorded
    [replay] = replays(curves, [users], 20, 1)
    found = list(incumbents(replay, "random", "none"))
    assert [index for index, _ in found] == sorted({index for index, _ in found})  # better and better
    arrived = next(spent for index, spent in found if index == 3)
    assert share_of_epochs(replay, "random", "none") == arrived / (races.N_RANDOM * EPOCHS)


@pytest.mark.parametrize("pruner", ["epochs:3", "wilcoxon", "paired"])
def test_rivals_arrive_with_fewer_epochs_where_users_tell(recorded: tuple[list[Curve], Users], pruner: str) -> None:
    curves, users = recorded
    [replay] = replays(curves, [users], 20, 1)
    assert isinstance(replay, Replay)
    spent = max(spent for _, spent in incumbents(replay, "random", pruner))
    assert spent < races.MOST_TRIALS * EPOCHS / 2
    assert math.isfinite(share_of_epochs(replay, "random", pruner))


def test_a_course_tells_what_the_incumbent_lacks_at_a_quarter_and_at_the_end(
    recorded: tuple[list[Curve], Users],
) -> None:
    curves, users = recorded
    [replay] = replays(curves, [users], 20, 1)
    budget = races.N_RANDOM * EPOCHS
    best, worst = replay.true_score(3), replay.true_score(0)
    late = races.course(replay, iter([(0, EPOCHS), (3, budget // 2)]))
    assert (late.share, late.missing) == (0.5, {0.25: best - worst, 1.0: 0.0})
    lost = races.course(replay, iter([(3, EPOCHS), (0, budget), (3, budget + 1)]))  # what comes too late counts nowhere
    assert (lost.share, lost.missing) == (1 / races.N_RANDOM, {0.25: 0.0, 1.0: best - worst})
    assert races.course(replay, iter([(0, EPOCHS)])).share == math.inf


def test_what_was_cut_too_early_goes_on_to_its_end_and_is_no_trial_of_its_own() -> None:
    # The defaults start lowest and end best: two other configurations that start low go on once that is known.
    places = [{"hidden_dimension": h, "output_dropout": 0.3, "learning_rate": 0.004} for h in (16, 24, 30, 36, 48, 64)]
    ends = np.array([[0.30, 0.31], [0.1, 0.6], [0.2, 0.25], [0.32, 0.33], [0.19, 0.24], [0.29, 0.3]])
    levels = np.stack([np.linspace(low, high, EPOCHS) for low, high in ends])
    users = levels[:, :, None] + np.random.default_rng(0).normal(0.0, 0.001, (6, EPOCHS, 60))
    [replay] = replays([Curve(values, []) for values in places], [users], 20, 1)
    plain = list(races.until(replay.trials("random", "median"), 40))
    steps = list(races.until(replay.trials("random", "median", thaw=True), 40))
    assert len(plain) == 40
    assert not any(step.went_on for step in plain)
    again = [step for step in steps if step.went_on]
    assert len(steps) == 40 + len(again)
    assert 0 < len(again) <= 8  # at most one trial in five
    assert all(not step.pruned and 0 < step.n_epochs < EPOCHS for step in again)
    cut = [step for step in steps if step.pruned]
    assert {(step.index, EPOCHS - step.n_epochs) for step in again} <= {(step.index, step.n_epochs) for step in cut}


def test_rows_are_told_with_never_as_inf() -> None:
    settings = {"log": "ml-100k-94", "sampler": "tpe", "pruner": "paired", "seeds": 20, "thaw": True}
    figures = {
        "median_share": None,
        "n_arrived": 9,
        "epochs_per_trial": 12.5,
        "missing": {"0.25": [0.01, 0.02], "1.0": [0.004, -0.002]},
    }
    row = Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)
    assert races.report({"ml-100k-94-tpe-paired-thaw": row}).endswith(
        "| ml-100k-94 | tpe | paired, thaw | inf | 9 of 20 | 0.0150 | 0.0010 | 12.5 |"
    )

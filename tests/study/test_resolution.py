"""What a confirmation can tell apart: planted deviations are found, and the verdict sees what the formula says."""

from dataclasses import asdict

import numpy as np
import pytest

from hrnn_hpo.study.confirm.verdict import RunScores, judge
from hrnn_hpo.study.resolution import (
    MAX_SEEDS,
    POWER,
    Design,
    Spread,
    detectable_gain,
    resolution,
    resolution_from,
    seeds_for,
    spread_of,
)

SPREAD = Spread(user=0.1, run=0.01, rest=0.2)
REDRAWN = Design(n_users=60, n_pool=540)
SAME = Design(n_users=200, n_pool=200)


def planted(
    design: Design, spread: Spread, n_seeds: int, gain: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return differences, their users and their runs."""
    likes = generator.normal(0, spread.user, design.n_pool)
    users = [np.sort(generator.permutation(design.n_pool)[: design.n_users]) for _ in range(n_seeds)]
    drawn = [
        gain + likes[mine] + generator.normal(0, spread.run) + generator.normal(0, spread.rest, len(mine))
        for mine in users
    ]
    return np.concatenate(drawn), np.concatenate(users), np.repeat(np.arange(n_seeds), design.n_users)


@pytest.mark.parametrize("design", [REDRAWN, SAME])
def test_planted_deviations_are_found(design: Design) -> None:
    spread = Spread(user=0.15, run=0.05, rest=0.2)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(30):
        differences, users, runs = planted(design, spread, 10, 0.1, generator)
        found.append(spread_of(differences[None], users, runs))
    for name in ("user", "run", "rest"):
        mean = np.mean([getattr(one, name) ** 2 for one in found]) ** 0.5
        assert mean == pytest.approx(getattr(spread, name), rel=0.1), name
    assert found[0] is not None
    assert found[0].n_users <= design.n_pool


def test_deviations_of_several_challengers_are_averaged() -> None:
    users, runs = np.tile(np.arange(4), 2), np.repeat([0, 1], 4)
    one = np.array([0.3, -0.3, 0.1, -0.1, 0.3, -0.3, 0.1, -0.1])  # what users like, and nothing else
    alone, both = spread_of(one[None], users, runs), spread_of(np.stack([one, 0 * one]), users, runs)
    assert alone is not None
    assert both is not None
    assert alone.user**2 == pytest.approx((0.09 + 0.09 + 0.01 + 0.01) / 3)  # their mean is not known
    assert both.user**2 == pytest.approx(alone.user**2 / 2)
    assert (alone.run, alone.n_users) == (0.0, 4)


def test_one_run_or_one_user_a_run_tells_no_deviation() -> None:
    assert spread_of(np.ones((1, 5)), np.arange(5), np.zeros(5, dtype=int)) is None
    assert spread_of(np.ones((1, 2)), np.arange(2), np.arange(2)) is None


@pytest.mark.parametrize(
    ("design", "n_seeds"), [(REDRAWN, 5), (REDRAWN, 12), (SAME, 5), (Design(60, 540, n_challengers=3), 5)]
)
def test_the_verdict_sees_the_detectable_gain_as_often_as_it_says(design: Design, n_seeds: int) -> None:
    gain = detectable_gain(design, SPREAD, n_seeds)
    generator = np.random.default_rng(1)
    seen = 0
    n_studies = 40
    for study in range(n_studies):
        runs: dict[int, list[RunScores]] = {trial: [] for trial in range(design.n_challengers + 1)}
        state = generator.bit_generator.state
        for trial in range(1, design.n_challengers + 1):
            generator.bit_generator.state = state  # the same users for all challengers
            differences, users, index = planted(design, SPREAD, n_seeds, gain if trial == 1 else -0.5, generator)
            for run in range(n_seeds):
                mine = index == run
                runs[trial].append(RunScores(float(differences[mine].mean()), 1, users[mine], differences[mine]))
                if trial == 1:
                    runs[0].append(RunScores(0.0, 1, users[mine], np.zeros(int(mine.sum()))))
        said = judge(runs, 0, {}, objective="ndcg_at_10", redrawn=True, seed=study, n_resamples=600)
        seen += said.verdict == "yes"
    assert seen / n_studies == pytest.approx(POWER, abs=0.19)  # three standard errors of 40 studies


def test_more_seeds_users_and_fewer_challengers_see_more() -> None:
    base = detectable_gain(REDRAWN, SPREAD, 5)
    assert detectable_gain(REDRAWN, SPREAD, 10) < base
    assert detectable_gain(Design(120, 1080), SPREAD, 5) < base
    assert detectable_gain(Design(60, 540, n_challengers=4), SPREAD, 5) > base
    assert detectable_gain(Design(60, 540, alpha=0.025), SPREAD, 5) > base


def test_the_number_of_seeds_is_the_first_that_sees_the_gain() -> None:
    n = seeds_for(REDRAWN, SPREAD, 0.03)
    assert n is not None
    assert detectable_gain(REDRAWN, SPREAD, n) <= 0.03 < detectable_gain(REDRAWN, SPREAD, n - 1)
    assert seeds_for(REDRAWN, SPREAD, 10.0) == 2
    assert seeds_for(REDRAWN, SPREAD, 1e-5) is None


def test_it_is_told_in_a_sentence() -> None:
    found = resolution("ndcg_at_10", REDRAWN, SPREAD, 5, [0.03, 1e-5])
    n = seeds_for(REDRAWN, SPREAD, 0.03)
    assert found.sentence() == (
        f"With 60 users a run, 5 seeds and 1 challenger a gain below {found.detectable:.2g} ndcg_at_10 most likely "
        "stays undecided (80% power; paired differences deviate by 0.22, assumed before any run). "
        f"A gain of 0.03 takes {n} seeds. A gain of 1e-05 takes more than {MAX_SEEDS} seeds."
    )
    again = resolution("ndcg_at_10", REDRAWN, SPREAD, 5, [0.03], next_alpha=0.025)
    assert again.seeds_for["0.03"] > n  # type: ignore[operator]
    assert again.detectable == found.detectable  # at the level of the look that was


def test_it_comes_back_from_plain_values() -> None:
    found = resolution("ndcg_at_10", REDRAWN, SPREAD, 5, [0.03])
    assert resolution_from(asdict(found)) == found


def test_a_detectable_gain_has_the_unit_of_the_deviations() -> None:
    design = Design(n_users=100, n_pool=900)
    usual, tiny = (detectable_gain(design, Spread(0.06 * unit, 0.003 * unit, 0.1 * unit), 5) for unit in (1.0, 1e-6))
    assert tiny == pytest.approx(1e-6 * usual, rel=1e-4)

"""Two configurations from two studies, on small figures: what is paired, and what the interval counts."""

import numpy as np
import pytest

from hrnn_hpo.study.compare.pairs import compare_runs
from hrnn_hpo.study.confirm.verdict import RunScores


def run(users: list[int], figures: list[float]) -> RunScores:
    return RunScores(float(np.mean(figures)), 1, np.array(users, dtype=np.int64), np.array(figures))


def score_alone(score: float) -> RunScores:
    return RunScores(score, 1, np.empty(0, dtype=np.int64), np.empty(0))


def test_the_same_runs_are_paired_within_users_and_the_others_left_out() -> None:
    ours = {7: run([1, 2], [0.5, 0.9]), 8: run([2, 3], [0.8, 0.2]), 9: run([1, 3], [1.0, 1.0])}
    theirs = {7: run([1, 2], [0.4, 0.7]), 8: run([2, 3], [0.7, 0.1]), 5: run([1, 3], [0.0, 0.0])}
    found = compare_runs(ours, theirs, level=0.95)
    assert found.difference == pytest.approx((0.1 + 0.2 + 0.1 + 0.1) / 4)
    assert (found.pairing, found.n_users, found.n_runs) == ("run", (3, 3), (2, 2))
    assert found.words() == "paired, 3 users, 2 runs"
    assert found.p == pytest.approx(2 / 2**3)  # all three users alike: two of eight sign patterns


def test_other_runs_of_the_same_users_are_paired_by_their_means() -> None:
    ours = {1: run([1, 2, 3], [0.6, 0.2, 0.4]), 2: run([1, 2, 4], [0.8, 0.4, 0.9])}
    theirs = {3: run([1, 2, 3], [0.5, 0.1, 0.3])}
    found = compare_runs(ours, theirs, level=0.95)
    # Users 1, 2 and 3 were judged on both sides, user 4 on one: (.7 + .3 + .4) / 3 - (.5 + .1 + .3) / 3.
    assert found.difference == pytest.approx((1.4 - 0.9) / 3)
    assert (found.pairing, found.n_users, found.n_runs) == ("user", (3, 3), (2, 1))
    assert found.words() == "paired by user over runs, 3 users, 2 and 1 runs"


def test_users_who_are_mostly_others_are_not_paired_and_their_means_compared() -> None:
    ours = {1: run([1, 2, 3, 4], [0.5, 0.6, 0.7, 0.8])}
    theirs = {2: run([4, 5, 6, 7], [0.1, 0.2, 0.3, 0.4])}
    found = compare_runs(ours, theirs, level=0.95)
    assert found.difference == pytest.approx(0.65 - 0.25)
    assert (found.pairing, found.words()) == ("none", "unpaired, 4 users, 1 run")
    assert found.low < 0.4 < found.high


def planted(rng: np.random.Generator, luck: float, n_users: int, gain: float = 0.0) -> tuple[RunScores, ...]:
    """Return five runs on users of one taste, each with its own luck."""
    tastes = np.random.default_rng(3).normal(0.3, 0.2, n_users)
    users = list(range(n_users))
    runs = [tastes + gain + rng.normal(0, 0.1, n_users) + rng.normal(0, luck) for _ in range(5)]
    return tuple(run(users, list(figures)) for figures in runs)


def test_pairing_by_user_removes_what_users_have_in_common() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = planted(rng, 0.0, 200, gain=0.05), planted(rng, 0.0, 200)
    paired = compare_runs(dict(enumerate(ours)), dict(enumerate(theirs, 10)), level=0.95)
    moved = {key: RunScores(one.score, 1, one.users + 1000, one.figures) for key, one in enumerate(theirs, 10)}
    apart = compare_runs(dict(enumerate(ours)), moved, level=0.95)
    assert (paired.pairing, apart.pairing) == ("user", "none")
    assert paired.difference == pytest.approx(apart.difference)
    assert apart.high - apart.low > 2 * (paired.high - paired.low)
    assert paired.p < 0.01 < apart.p


def test_the_interval_counts_the_luck_of_either_sides_runs() -> None:
    """With many users nearly all of the chance lies in the runs: five on each side, drawn apart."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ours, theirs = planted(rng, 0.05, 150), planted(rng, 0.05, 150)
        found = compare_runs(dict(enumerate(ours)), dict(enumerate(theirs, 10)), level=0.95, n_resamples=500)
        covered += found.low < 0.0 < found.high
    assert covered >= 50  # five runs tell their own deviation roughly


def test_a_metric_of_the_whole_list_has_its_runs_as_units() -> None:
    ours = {seed: score_alone(score) for seed, score in enumerate((0.5, 0.6, 0.7))}
    same = {seed: score_alone(score) for seed, score in enumerate((0.4, 0.5, 0.6))}
    found = compare_runs(ours, same, level=0.95)
    assert (found.pairing, found.words()) == ("run", "paired, 3 runs")
    assert (found.difference, found.p) == (pytest.approx(0.1), pytest.approx(2 / 2**3))
    others = compare_runs(ours, {key + 9: value for key, value in same.items()}, level=0.95)
    assert (others.pairing, others.words()) == ("none", "unpaired, 3 runs")
    assert others.low < 0.1 < others.high  # Welch: standard error .082, 4 degrees of freedom
    assert others.high - others.low == pytest.approx(2 * 2.776 * 0.0816, rel=0.01)


def test_runs_that_show_no_chance_do_not_prove_anything_by_themselves() -> None:
    ours, theirs = ({key + shift: score_alone(value) for key in (0, 1)} for shift, value in ((0, 0.5), (5, 0.4)))
    assert compare_runs(ours, theirs, level=0.95).p == pytest.approx(2 / 6)
    alike = compare_runs(ours, {key + 5: run for key, run in ours.items()}, level=0.95)
    assert (alike.difference, alike.p) == (0.0, 1.0)

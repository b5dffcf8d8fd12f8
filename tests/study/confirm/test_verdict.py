"""The verdict on planted runs: a clear winner, equals, worse ones; pairs, clusters and the choice of the winner."""

from collections.abc import Sequence

import numpy as np
import pytest

from hrnn_hpo.study.confirm.verdict import (
    RunScores,
    crossed_interval,
    default_n_confirmed,
    judge,
    median_epoch,
    rank_by_confirmed_mean,
)
from hrnn_hpo.study.confirmation import Confirmation, confirmation_from, sentences

N_USERS, N_DRAWN, N_SEEDS = 400, 100, 5


def planted(
    gains: dict[int, float], *, luck: float = 0.0, n_drawn: int = N_DRAWN, noise: float = 0.1, seed: int = 0
) -> dict[int, list[RunScores]]:
    """Return runs in which trial t scores `gains[t]` above trial 0, all on the same users of each run.

    `luck` is the deviation of what a whole run of a trial is lucky by, `noise` that of a user in a run.
    """
    generator = np.random.default_rng(seed)
    tastes = generator.normal(0.3, 0.2, N_USERS)  # how easy a user is: the same for all configurations
    drawn = [np.sort(generator.permutation(N_USERS)[:n_drawn]) for _ in range(N_SEEDS)]
    runs: dict[int, list[RunScores]] = {}
    for trial, gain in gains.items():
        runs[trial] = []
        for users in drawn:
            figures = tastes[users] + gain + generator.normal(0, noise, n_drawn) + generator.normal(0, luck)
            runs[trial].append(RunScores(float(figures.mean()), 3, users.astype(np.int64), figures))
    return runs


def verdict_on(gains: dict[int, float], **how: float) -> Confirmation:
    runs = planted(gains, **how)  # type: ignore[arg-type]
    return judge(runs, 0, dict.fromkeys(gains, 0.5), objective="ndcg_at_10", redrawn=True)


def test_a_clear_winner_is_better() -> None:
    found = verdict_on({0: 0.0, 7: 0.05})
    assert (found.verdict, found.winner) == ("yes", 7)
    winner = found.contender(7)
    assert winner.low is not None
    assert winner.high is not None
    assert winner.low < 0.05 < winner.high
    assert winner.p_holm is not None
    assert winner.p_holm < 0.001


def test_a_worse_one_is_not_better_and_the_defaults_win() -> None:
    found = verdict_on({0: 0.0, 7: -0.05, 9: -0.04})
    assert (found.verdict, found.winner) == ("no", 0)


def test_equals_are_undecided_while_a_gain_that_matters_is_possible() -> None:
    assert verdict_on({0: 0.0, 7: 0.0}, noise=0.3).verdict == "undecided"


def test_equals_are_no_better_once_the_runs_exclude_a_gain_of_one_percent() -> None:
    assert verdict_on({0: 0.0, 7: 0.0}, noise=0.01).verdict == "no"


def test_equals_are_rarely_called_better() -> None:
    wrong = [verdict_on({0: 0.0, 7: 0.0, 8: 0.0}, seed=seed).verdict == "yes" for seed in range(20)]
    assert sum(wrong) <= 3  # 5 % of 20 are 1


def test_the_luck_of_few_seeds_does_not_make_a_winner_even_with_many_users() -> None:
    """The test over users alone would call most of these better: all users of a run share its luck."""
    found = [verdict_on({0: 0.0, 7: 0.0}, luck=0.03, n_drawn=390, noise=0.02, seed=seed) for seed in range(12)]
    significant = sum(one.contender(7).p_holm < 0.05 for one in found if one.contender(7).p_holm is not None)  # type: ignore[operator]
    assert significant >= 8
    assert sum(one.verdict == "yes" for one in found) <= 3


def test_the_gain_is_the_difference_of_the_means_that_everyone_can_recompute() -> None:
    found = verdict_on({0: 0.0, 7: 0.05})
    one, other = found.contender(7), found.contender(0)
    assert one.mean == pytest.approx(sum(one.scores) / N_SEEDS)
    assert one.difference == pytest.approx(one.mean - other.mean)
    assert other.difference is None


def test_optimism_is_the_best_search_score_minus_its_confirmed_mean() -> None:
    runs = {
        0: [RunScores(score, 2, np.arange(1), np.array([score])) for score in (0.20, 0.22)],
        3: [RunScores(score, 4, np.arange(1), np.array([score])) for score in (0.24, 0.26)],
        5: [RunScores(score, 6, np.arange(1), np.array([score])) for score in (0.26, 0.28)],
    }
    found = judge(runs, 0, {0: 0.23, 3: 0.31, 5: 0.30}, objective="ndcg_at_10", redrawn=True)
    assert found.raw_best == 3
    assert found.winner == 5  # the confirmed best, not the raw best
    assert found.optimism == pytest.approx(0.31 - 0.25)
    assert found.optimism_of_defaults == pytest.approx(0.23 - 0.21)
    assert "Trial 3 won the search, trial 5 the confirmation." in sentences(found)


def test_a_metric_of_the_whole_list_has_its_runs_as_units() -> None:
    def runs(scores: Sequence[float]) -> list[RunScores]:
        return [RunScores(score, 1, np.empty(0, np.int64), np.empty(0)) for score in scores]

    five = judge({0: runs([0.1] * 5), 1: runs([0.5] * 5)}, 0, {}, objective="coverage", redrawn=True)
    assert five.contender(1).p == pytest.approx(2 / 2**5)
    assert five.verdict == "undecided"
    eight = judge({0: runs([0.1] * 8), 1: runs([0.5] * 8)}, 0, {}, objective="coverage", redrawn=True)
    assert eight.verdict == "yes"
    assert eight.n_users == 0


def test_pairs_must_have_the_same_users() -> None:
    runs = {trial: [RunScores(0.5, 1, np.array([trial]), np.array([0.5]))] for trial in (0, 1)}
    with pytest.raises(AssertionError, match="paired"):
        judge(runs, 0, {}, objective="ndcg_at_10", redrawn=True)


def test_the_crossed_interval_counts_users_and_runs() -> None:
    generator = np.random.default_rng(0)
    users, runs = np.tile(np.arange(50), 6), np.repeat(np.arange(6), 50)
    noise = generator.normal(0, 0.1, 300)

    def width(differences: np.ndarray) -> float:
        low, high = crossed_interval(differences, users, runs, level=0.95, seed=0)
        return high - low

    assert width(noise + 0.2 * (runs % 2)) > 2 * width(noise)  # what a run's users share
    assert width(noise + 0.5 * (users % 2)) > 2 * width(noise)  # what a user's runs share
    assert width(np.full(300, 0.25)) == pytest.approx(0)


def test_equal_means_go_to_the_earlier_trial() -> None:
    assert rank_by_confirmed_mean({4: 0.2, 0: 0.2, 2: 0.3, 9: 0.1}) == [2, 0, 4, 9]


@pytest.mark.parametrize(("n_trials", "k"), [(1, 0), (19, 0), (20, 1), (30, 2), (40, 3), (60, 5), (500, 5)])
def test_unless_told_as_many_are_confirmed_as_half_the_trials_pay_for(n_trials: int, k: int) -> None:
    assert default_n_confirmed(n_trials, n_seeds=5) == k


def test_the_median_epoch_is_one_that_was_best() -> None:
    assert median_epoch([9, 3, 4]) == 4
    assert median_epoch([9, 3, 4, 30]) == 4


def test_a_confirmation_comes_back_from_plain_values() -> None:
    found = verdict_on({0: 0.0, 7: 0.05})
    assert confirmation_from(found.content()) == found

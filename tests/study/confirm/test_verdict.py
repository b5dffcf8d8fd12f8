"""The verdict on planted runs: a clear winner, equals, worse ones; pairs, clusters and the choice of the winner."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hrnn_hpo.study.confirm.conclude import _resolution
from hrnn_hpo.study.confirm.intervals import crossed_intervals
from hrnn_hpo.study.confirm.verdict import (
    RunScores,
    default_n_confirmed,
    judge,
    median_epoch,
    rank_by_confirmed_mean,
)
from hrnn_hpo.study.confirmation import Confirmation, Look, confirmation_from, sentences
from hrnn_hpo.study.resolution import seeds_for

N_USERS, N_DRAWN, N_SEEDS = 400, 100, 5


def planted(
    gains: dict[int, float],
    *,
    luck: float = 0.0,
    n_drawn: int = N_DRAWN,
    noise: float = 0.1,
    seed: int = 0,
    n_seeds: int = N_SEEDS,
) -> dict[int, list[RunScores]]:
    """Return runs in which trial t scores `gains[t]` above trial 0, all on the same users of each run.

    `luck` is the deviation of what a whole run of a trial is lucky by, `noise` that of a user in a run.
    """
    generator = np.random.default_rng(seed)
    tastes = generator.normal(0.3, 0.2, N_USERS)  # how easy a user is: the same for all configurations
    drawn = [np.sort(generator.permutation(N_USERS)[:n_drawn]) for _ in range(n_seeds)]
    runs: dict[int, list[RunScores]] = {}
    for trial, gain in gains.items():
        runs[trial] = []
        for users in drawn:
            figures = tastes[users] + gain + generator.normal(0, noise, n_drawn) + generator.normal(0, luck)
            runs[trial].append(RunScores(float(figures.mean()), 3, users.astype(np.int64), figures))
    return runs


def first(runs: dict[int, list[RunScores]], n_seeds: int) -> dict[int, list[RunScores]]:
    """Return the first runs of each trial."""
    return {trial: of[:n_seeds] for trial, of in runs.items()}


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


def test_a_single_user_says_nothing() -> None:
    runs = {trial: [RunScores(trial / 10, 1, np.array([5]), np.array([trial / 10]))] * 3 for trial in (0, 1)}
    found = judge(runs, 0, {}, objective="ndcg_at_10", redrawn=True)
    assert (found.verdict, found.contender(1).low, found.contender(1).high) == ("undecided", None, None)
    assert "no 95 % interval from a single user or run" in sentences(found)[0]


# ---- several challengers: each correction alone keeps a "yes" back


def six_runs_of_a_list_metric(*gains: float) -> dict[int, list[RunScores]]:
    """Return six runs of the defaults and of a challenger for each gain, all in its favour, each a unit of its own."""
    empty = RunScores(0.0, 1, np.empty(0, np.int64), np.empty(0))
    scores = {trial: [gain + r / 100 for r in range(6)] for trial, gain in enumerate((0.0, *gains))}
    lucky = {trial: [score + (trial > 0) * r / 100 for r, score in enumerate(of)] for trial, of in scores.items()}
    return {trial: [replace(empty, score=score) for score in of] for trial, of in lucky.items()}


def test_holms_correction_alone_keeps_a_yes_back() -> None:
    """Six runs in favour have p = 2 / 2^6 = .031: enough for one challenger, not for the better of two."""
    one = judge(six_runs_of_a_list_metric(0.2), 0, {}, objective="coverage", redrawn=True)
    assert (one.verdict, one.contender(1).p, one.contender(1).p_holm) == ("yes", 2 / 64, 2 / 64)
    two = judge(six_runs_of_a_list_metric(0.2, 0.1), 0, {}, objective="coverage", redrawn=True)
    assert (two.verdict, two.winner) == ("undecided", 1)
    assert two.contenders[0].low is not None
    assert two.contenders[0].low > 0.1  # the interval would let it pass
    assert [two.contender(trial).p_holm for trial in (1, 2)] == [2 * 2 / 64, 2 * 2 / 64]


def test_bonferronis_intervals_alone_keep_a_yes_back() -> None:
    """The test over many users is sure. One run of five had no gain to speak of: t is 4.56 with 4 degrees of freedom.

    That has p = .010: less than the .05 of one challenger's interval, more than the .00625 of eight's.
    """
    luck = [1.0, 1.0, 1.0, 1.0, 0.1]
    users = np.arange(300)

    def runs(scale: float) -> list[RunScores]:
        figures = [np.full(300, 0.3 + scale * one) for one in luck]
        return [RunScores(float(of.mean()), 1, users, of) for of in figures]

    alone = judge({0: runs(0.0), 1: runs(0.1)}, 0, {}, objective="ndcg_at_10", redrawn=True)
    assert alone.verdict == "yes"
    among = judge({0: runs(0.0), **{t: runs(0.1 - t / 1e6) for t in range(1, 9)}}, 0, {}, objective="", redrawn=True)
    assert (among.verdict, among.winner) == ("undecided", 1)
    assert among.contenders[0].p_holm is not None
    assert among.contenders[0].p_holm < 0.001  # the test would let it pass


def test_intervals_hold_for_all_challengers_at_once() -> None:
    runs = planted({0: 0.0, 7: 0.01, 8: 0.02, 9: 0.03})
    found = judge(runs, 0, {}, objective="ndcg_at_10", redrawn=True)
    differences = np.stack(
        [np.concatenate([a.figures - b.figures for a, b in zip(runs[t], runs[0], strict=True)]) for t in (7, 8, 9)]
    )
    users = np.concatenate([run.users for run in runs[0]])
    wanted = crossed_intervals(differences, users, np.repeat(np.arange(5), N_DRAWN), level=1 - 0.05 / 3)
    assert [(found.contender(t).low, found.contender(t).high) for t in (7, 8, 9)] == wanted


# ---- several looks


def test_a_further_look_is_judged_at_half_the_level_and_the_same_runs_at_their_own() -> None:
    runs = planted({0: 0.0, 7: 0.0}, noise=0.3, n_seeds=7)
    looks: list[Look] = []
    seen = []
    for n_seeds in (3, 5, 7, 5):
        found = judge(first(runs, n_seeds), 0, {}, objective="ndcg_at_10", redrawn=True, looks=looks)
        looks = found.looks
        seen.append((found.look, found.alpha))
    assert seen == [(1, 0.05), (2, 0.025), (3, 0.0125), (2, 0.025)]
    assert [(look.n_seeds, look.contenders, look.alpha) for look in looks] == [
        (3, [0, 7], 0.05),
        (5, [0, 7], 0.025),
        (7, [0, 7], 0.0125),
    ]


def test_another_challenger_makes_another_look() -> None:
    runs = planted({0: 0.0, 7: 0.0, 8: 0.0}, noise=0.3)
    once = judge({t: runs[t] for t in (0, 7)}, 0, {}, objective="ndcg_at_10", redrawn=True)
    assert judge(runs, 0, {}, objective="ndcg_at_10", redrawn=True, looks=once.looks).look == 2


def test_what_the_first_look_would_call_better_a_further_one_may_not() -> None:
    """Six runs in favour: p = .031 passes 5 % and not 2.5 %. Seven have p = .016."""
    runs = six_runs_of_a_list_metric(0.2)
    earlier = [Look(5, [0, 1], 0.05, "undecided")]
    found = judge(runs, 0, {}, objective="coverage", redrawn=True, looks=earlier)
    assert (found.verdict, found.look, found.alpha) == ("undecided", 2, 0.025)
    told = sentences(found)[0]
    assert "97.5 % interval" in told
    assert told.endswith("It is the second look at these runs, judged at level 0.025.")
    more = {trial: [*of, of[-1]] for trial, of in runs.items()}
    assert judge(more, 0, {}, objective="coverage", redrawn=True, looks=earlier).verdict == "yes"


def test_the_levels_of_all_looks_stay_below_the_one_sided_total() -> None:
    runs = six_runs_of_a_list_metric(0.0)
    looks: list[Look] = []
    for trial in range(1, 12):  # another contender each time
        looks = judge({0: runs[0], trial: runs[1]}, 0, {}, objective="coverage", redrawn=True, looks=looks).looks
    assert sum(look.alpha / 2 for look in looks) < 0.05


# ---- the judges and the choosers


def test_users_that_chose_the_winner_never_say_yes_and_may_say_no() -> None:
    better = judge(planted({0: 0.0, 7: 0.05}), 0, {}, objective="ndcg_at_10", redrawn=False, doubt="they chose")
    assert (better.verdict, better.doubt, better.looks[0].verdict) == ("undecided", "they chose", "undecided")
    assert sentences(better)[0].startswith("Better than the defaults: undecided. It cannot be yes: they chose. Trial 7")
    worse = judge(planted({0: 0.0, 7: -0.05}), 0, {}, objective="ndcg_at_10", redrawn=False, doubt="they chose")
    assert worse.verdict == "no"


@pytest.mark.parametrize(("redrawn", "verdict"), [(True, "yes"), (False, "undecided")])
def test_a_verdict_of_an_earlier_version_is_read_as_what_it_was_worth(redrawn: bool, verdict: str) -> None:
    content = judge(planted({0: 0.0, 7: 0.05}), 0, {}, objective="ndcg_at_10", redrawn=redrawn).content()
    for later in ("doubt", "look", "alpha", "looks"):
        del content[later]
    found = confirmation_from(content)
    assert found.verdict == verdict
    assert (found.doubt is None) == redrawn
    assert found.looks == [Look(N_SEEDS, [0, 7], 0.05, verdict)]  # type: ignore[arg-type]


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


def test_further_seeds_are_told_at_the_level_behind_all_looks_also_after_a_return_to_an_earlier_one() -> None:
    runs = planted({0: 0.0, 7: 0.01}, noise=0.3, n_seeds=5)
    looks: list[Look] = []
    for n_seeds in (3, 5, 3):
        found = judge(first(runs, n_seeds), 0, {}, objective="ndcg_at_10", redrawn=True, looks=looks)
        looks = found.looks
    record: Any = SimpleNamespace(protocol="personalize", objective="ndcg_at_10")
    told = _resolution(first(runs, 3), found, record)
    assert told is not None
    assert told.design.alpha == 0.05
    [*_, half] = told.seeds_for.values()  # of half the gain that is detectable
    by_level = {
        alpha: seeds_for(replace(told.design, alpha=alpha), told.spread, told.detectable / 2)
        for alpha in (0.0125, 0.025)
    }
    assert half == by_level[0.0125] != by_level[0.025]

"""Whether tuning paid: the statistics of a confirmation. Numbers in, a verdict out; who trains is runs.py's work.

A search picks the largest of many noisy scores, so the score that won flatters the winner. A confirmation trains the
best configurations and the defaults anew, each on the same fresh seeds, judges them on users that the search did not
choose by, and picks the winner by those scores alone. How they are judged:

- *Other users.* What a user likes about a configuration comes back in every run: who chose the winner must not judge
  it. `personalize` and `personalize-last` draw training and validation users anew for each run; about a ninth of them
  were in the search's validation, too few to matter (simulated, see below), and none of the first ten runs' in a
  screening's. The other protocols cut all users in time and have nobody to draw, so a study holds max(100, 40 %) of the
  validation users back from trials and early stopping, and they alone are judged. Where fewer than 200 leave nobody to
  hold back, "yes" is never said (`doubt`). "no" may be: luck flatters what was chosen.
- *Pairs.* Run r of every configuration has the same seed, training users and validation users, so configurations are
  compared by differences within a user of a run: what users and draws have in common cancels out.
- *Units.* A user drawn for validation in several runs answers several times but is one user: the test (a sign flip per
  user, evaluation/significance.py) turns all differences of a user together. Users are what the claim is about.
- *Two sources of chance.* The test speaks of other users, not of other seeds and splits. The interval speaks of both,
  by the variance between users and that between runs (intervals.py). With 10^5 users the test alone would call the
  luck of five seeds significant.
- *Several challengers.* p-values carry Holm's correction, intervals Bonferroni's: they hold for all challengers at
  once, and so for the one that is picked.
- *Several looks.* Who adds seeds or challengers after "undecided" gives chance another try. The first look is judged at
  5 %, each further one at half the level of the one before, and intervals widen alike. "yes" is one side of a two-sided
  test, which chance reaches in at most 2.5 % of first looks, 1.25 % of second ones, and so on: the levels add up to
  less than 5 %. In simulation, where runs differ by luck as much as by their users, equal configurations are called
  better in up to 5.6 % of studies after two looks. Runs that were judged before are judged at the level of that look
  again.
- *Words.* "yes": the winner's p-value is below the look's level and its interval above zero. "no": no challenger's
  interval leaves room for a gain of 1 % of the defaults' score, which includes those that are worse. "undecided":
  neither, so the runs at hand cannot tell; more seeds may.
- *Optimism* is the best search score minus the confirmed mean of the same configuration. Part of it is that the users
  of the search are others than those of the confirmation, which the defaults share though nobody picked them: their own
  difference stands beside it.

A run's score is its best epoch's, as in the search. Held-back users do not choose that epoch; redrawn ones do, which
flatters all configurations alike, nearly. The means are for comparing, and the test users tell what a configuration is
worth. A metric without a figure per user (coverage) has its runs as units: five of them cannot reach 5 %, eight can.
`scripts/benchmarks/search/false_yes.py` simulates how often equal configurations are called better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.evaluation.significance import holm, paired_test
from hrnn_hpo.study.confirm.intervals import crossed_intervals
from hrnn_hpo.study.confirmation import Confirmation, Contender, Look, Verdict

ALPHA = 0.05  # of the first look, two-sided
NEGLIGIBLE = 0.01  # of the defaults' score: a smaller gain is none
N_RESAMPLES = 10_000
MAX_DEFAULT_CONFIRMED = 5


@dataclass(frozen=True)
class RunScores:
    """One run of one configuration: its score, and the figures of the users behind it."""

    score: float
    best_epoch: int
    users: NDArray[np.int64]  # (R,) empty for a metric that has no figure per user
    figures: NDArray[np.float64]  # (R,) their mean is the score


def side_by_side(
    configurations: Sequence[Sequence[RunScores]],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return figures (C, N) of C configurations on the same users of the same runs, and user and run of each, (N,).

    For a metric without a figure per user they are the runs' scores, each run being a user of its own.
    """
    first = configurations[0]
    for other in configurations[1:]:
        for one, another in zip(first, other, strict=True):
            assert np.array_equal(one.users, another.users), "paired runs have the same users"
    if not len(first[0].users):
        units = np.arange(len(first))
        return np.array([[run.score for run in ran] for ran in configurations]), units, units
    users = np.concatenate([run.users for run in first])
    runs = np.repeat(np.arange(len(first)), [len(run.users) for run in first])
    return np.stack([np.concatenate([run.figures for run in ran]) for ran in configurations]), users, runs


def rank_by_confirmed_mean(means: Mapping[int, float]) -> list[int]:
    """Return trials by confirmed mean, best first; of equals the earlier one, so that the defaults stay."""
    return sorted(means, key=lambda trial: (-means[trial], trial))


def default_n_confirmed(n_trials: int, n_seeds: int) -> int:
    """Return how many configurations to confirm unless told or screened: as many as half the trials pay for, at most 5.

    K configurations and the defaults take (K + 1) x n_seeds runs. 0 for a search too small for it.
    """
    return max(0, min(MAX_DEFAULT_CONFIRMED, n_trials // 2 // n_seeds - 1))


def judge(
    runs: Mapping[int, Sequence[RunScores]],
    defaults: int,
    search_values: Mapping[int, float | None],
    *,
    objective: str,
    redrawn: bool,
    failed: Sequence[int] = (),
    seed: int = 0,
    comparable: bool = True,
    doubt: str | None = None,
    looks: Sequence[Look] = (),
    n_resamples: int = N_RESAMPLES,
) -> Confirmation:
    """Return the verdict on configurations that ran on the same seeds and splits.

    `runs` holds each trial's runs in one order; `defaults` and somebody else are among them. `doubt` says why their
    users are those that chose the challengers, where they are: then no verdict is "yes". `looks` are the earlier ones
    of this confirmation; the result carries them with its own. The optimism is None where the search's scores are not
    `comparable` with these runs', since it trained on fewer users.
    """
    look, alpha = _look(looks, len(runs[defaults]), sorted(runs))
    means = {trial: float(np.mean([run.score for run in scored])) for trial, scored in runs.items()}
    challengers = sorted(trial for trial in runs if trial != defaults)
    assert challengers, "nobody is compared with the defaults"
    level = 1.0 - alpha / len(challengers)
    compared = _compare([runs[trial] for trial in challengers], runs[defaults], level, seed, n_resamples)
    against = dict(zip(challengers, compared, strict=True))
    adjusted = dict(zip(challengers, holm([one["p"] for one in compared]), strict=True))
    contenders = [
        Contender(
            trial=trial,
            search_value=search_values.get(trial),
            scores=[run.score for run in runs[trial]],
            mean=means[trial],
            best_epoch=median_epoch([run.best_epoch for run in runs[trial]]),
            **against.get(trial, {}),
            p_holm=adjusted.get(trial),
        )
        for trial in rank_by_confirmed_mean(means)
    ]
    known = {one.trial: one.search_value for one in contenders if one.search_value is not None}
    raw_best = max(known, key=lambda trial: (known[trial], -trial), default=defaults)
    distinct = np.unique(np.concatenate([run.users for scored in runs.values() for run in scored]))
    verdict = _verdict(contenders, defaults, means[defaults], alpha)
    if verdict == "yes" and doubt is not None:
        verdict = "undecided"
    ours = Look(len(runs[defaults]), sorted(runs), alpha, verdict)
    return Confirmation(
        verdict=verdict,
        winner=contenders[0].trial,
        defaults=defaults,
        raw_best=raw_best,
        optimism=known[raw_best] - means[raw_best] if comparable and raw_best in known else None,
        optimism_of_defaults=known[defaults] - means[defaults] if comparable and defaults in known else None,
        objective=objective,
        n_seeds=len(runs[defaults]),
        n_users=len(distinct),
        redrawn=redrawn,
        contenders=contenders,
        failed=sorted(failed),
        doubt=doubt,
        look=look,
        alpha=alpha,
        looks=[*looks[: look - 1], ours, *looks[look:]],
    )


def median_epoch(epochs: Sequence[int]) -> int:
    """Return the median number of epochs, the lower of the two in the middle."""
    return sorted(epochs)[(len(epochs) - 1) // 2]


def _look(looks: Sequence[Look], n_seeds: int, contenders: list[int]) -> tuple[int, float]:
    """Return which look it is to judge these runs, from 1, and its level: runs judged before keep theirs."""
    for number, look in enumerate(looks, start=1):
        if (look.n_seeds, look.contenders) == (n_seeds, contenders):
            return number, look.alpha
    return len(looks) + 1, level_of_next(looks)


def level_of_next(looks: Sequence[Look]) -> float:
    """Return the level at which runs that have not been judged yet are judged, after some looks."""
    return float(ALPHA / 2 ** len(looks))


def _compare(
    challengers: Sequence[Sequence[RunScores]], theirs: Sequence[RunScores], level: float, seed: int, n_resamples: int
) -> list[dict[str, Any]]:
    """Return difference, interval and p-value of each challenger against the defaults."""
    (defaults, *others), users, runs = side_by_side([theirs, *challengers])
    differences = np.stack(others) - defaults  # (challengers, N)
    intervals = crossed_intervals(differences, users, runs, level=level)
    return [
        {
            "difference": float(np.mean(one - defaults)),
            "low": None if interval is None else interval[0],
            "high": None if interval is None else interval[1],
            "p": paired_test(one, defaults, users=users, seed=seed, n_resamples=n_resamples),
        }
        for one, interval in zip(others, intervals, strict=True)
    ]


def _verdict(contenders: Sequence[Contender], defaults: int, score: float, alpha: float) -> Verdict:
    winner = contenders[0]
    if winner.p_holm is not None and winner.p_holm < alpha and winner.low is not None and winner.low > 0.0:
        return "yes"
    room = NEGLIGIBLE * abs(score)
    if all(one.high is not None and one.high < room for one in contenders if one.trial != defaults):
        return "no"
    return "undecided"

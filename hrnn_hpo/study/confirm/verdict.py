"""Whether tuning paid: the statistics of a confirmation. Numbers in, a verdict out; who trains is runs.py's work.

A search picks the largest of many noisy scores, so the score that won flatters the winner. A confirmation trains the
best configurations and the defaults anew, each on the same fresh seeds and redrawn users, and picks the winner by those
scores alone. How they are judged:

- *Pairs.* Run r of every configuration has the same seed, training users and validation users, so configurations are
  compared by differences within a user of a run: what users and draws have in common cancels out.
- *Units.* A user drawn for validation in several runs answers several times but is one user: the test (a sign flip per
  user, evaluation/significance.py) turns all differences of a user together. Users are what the claim is about.
- *Two sources of chance.* The test speaks of other users, not of other seeds and splits. The interval speaks of both: a
  bootstrap that draws users and runs anew, crossed (Owen 2007, the "pigeonhole" bootstrap). With 10^5 users the test
  alone would call the luck of five seeds significant.
- *Several challengers.* p-values carry Holm's correction, intervals Bonferroni's: they hold for all challengers at
  once, and so for the one that is picked.
- *Words.* "yes": the winner's p-value is below 5 % and its interval above zero. "no": no challenger's interval leaves
  room for a gain of 1 % of the defaults' score, which includes those that are worse. "undecided": neither, so the runs
  at hand cannot tell; more seeds may.
- *Optimism* is the best search score minus the confirmed mean of the same configuration. Part of it is the luck of the
  one validation split that the whole search looked at, which the defaults share though nobody picked them: their own
  difference stands beside it.

A run's score is its best epoch's, as in the search. That choice flatters all configurations alike, nearly; the means
are for comparing, and the test users tell what a configuration is worth. A metric without a figure per user (coverage)
has its runs as units: five of them cannot reach 5 %, eight can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.evaluation.significance import holm, paired_test
from hrnn_hpo.study.confirmation import Confirmation, Contender, Verdict

ALPHA = 0.05
NEGLIGIBLE = 0.01  # of the defaults' score: a smaller gain is none
N_RESAMPLES = 10_000
MAX_DEFAULT_CONFIRMED = 5
MAX_DRAWS = 100_000_000  # the bootstrap of very many users takes fewer resamples


@dataclass(frozen=True)
class RunScores:
    """One run of one configuration: its score, and the figures of its validation users behind it."""

    score: float
    best_epoch: int
    users: NDArray[np.int64]  # (R,) empty for a metric that has no figure per user
    figures: NDArray[np.float64]  # (R,) their mean is the score


def rank_by_confirmed_mean(means: Mapping[int, float]) -> list[int]:
    """Return trials by confirmed mean, best first; of equals the earlier one, so that the defaults stay."""
    return sorted(means, key=lambda trial: (-means[trial], trial))


def default_n_confirmed(n_trials: int, n_seeds: int) -> int:
    """Return how many configurations to confirm unless told: as many as half the trials would pay for, at most 5.

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
) -> Confirmation:
    """Return the verdict on configurations that ran on the same seeds and splits.

    `runs` holds each trial's runs in one order; `defaults` is among them. The optimism is None where the search's
    scores are not `comparable` with these runs', since it trained on fewer users.
    """
    means = {trial: float(np.mean([run.score for run in scored])) for trial, scored in runs.items()}
    challengers = sorted(trial for trial in runs if trial != defaults)
    level = 1.0 - ALPHA / max(len(challengers), 1)
    compared = {trial: _compare(runs[trial], runs[defaults], level, seed) for trial in challengers}
    adjusted = dict(zip(challengers, holm([compared[trial]["p"] for trial in challengers]), strict=True))
    contenders = [
        Contender(
            trial=trial,
            search_value=search_values.get(trial),
            scores=[run.score for run in runs[trial]],
            mean=means[trial],
            best_epoch=median_epoch([run.best_epoch for run in runs[trial]]),
            **compared.get(trial, {}),
            p_holm=adjusted.get(trial),
        )
        for trial in rank_by_confirmed_mean(means)
    ]
    known = {one.trial: one.search_value for one in contenders if one.search_value is not None}
    raw_best = max(known, key=lambda trial: (known[trial], -trial), default=defaults)
    distinct = {int(user) for scored in runs.values() for run in scored for user in run.users}
    return Confirmation(
        verdict=_verdict(contenders, defaults, means[defaults]),
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
    )


def median_epoch(epochs: Sequence[int]) -> int:
    """Return the median number of epochs, the lower of the two in the middle."""
    return sorted(epochs)[(len(epochs) - 1) // 2]


def crossed_interval(
    differences: NDArray[np.float64],
    users: NDArray[np.integer],
    runs: NDArray[np.integer],
    *,
    level: float,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> tuple[float, float]:
    """Return the percentile interval of the mean difference when users and runs are both drawn anew (Owen 2007).

    All arrays are (N,): a difference with the user and the run that it belongs to. Where user and run are one thing
    (each run its own user), only that one is drawn.
    """
    _, rows = np.unique(users, return_inverse=True)
    _, columns = np.unique(runs, return_inverse=True)
    n_rows, n_columns = int(rows.max()) + 1, int(columns.max()) + 1
    cells = rows * n_columns + columns
    sums = np.bincount(cells, weights=differences, minlength=n_rows * n_columns).reshape(n_rows, n_columns)
    counts = np.bincount(cells, minlength=n_rows * n_columns).reshape(n_rows, n_columns).astype(np.float64)
    crossed = n_columns > 1 and not np.array_equal(users, runs)
    generator = np.random.default_rng(seed)
    n_resamples = max(1000, min(n_resamples, MAX_DRAWS // n_rows))
    block = max(1, 4_000_000 // n_rows)
    means = []
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        user_weights = generator.multinomial(n_rows, np.full(n_rows, 1.0 / n_rows), size=size).astype(np.float64)
        run_weights = np.ones((size, n_columns))
        if crossed:
            run_weights = generator.multinomial(n_columns, np.full(n_columns, 1.0 / n_columns), size).astype(np.float64)
        totals = ((user_weights @ sums) * run_weights).sum(axis=1)
        weights = ((user_weights @ counts) * run_weights).sum(axis=1)
        means.append(totals[weights > 0] / weights[weights > 0])
    low, high = np.quantile(np.concatenate(means), [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _compare(ours: Sequence[RunScores], theirs: Sequence[RunScores], level: float, seed: int) -> dict[str, float]:
    """Return difference, interval and p-value of one configuration against the defaults."""
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.users, other.users), "paired runs have the same validation users"
    if len(ours[0].users):
        users = np.concatenate([run.users for run in ours])
        runs = np.repeat(np.arange(len(ours)), [len(run.users) for run in ours])
        a, b = (np.concatenate([run.figures for run in side]) for side in (ours, theirs))
    else:
        users = runs = np.arange(len(ours))
        a, b = (np.array([run.score for run in side]) for side in (ours, theirs))
    low, high = crossed_interval(a - b, users, runs, level=level, seed=seed)
    p = paired_test(a, b, users=users, seed=seed)
    return {"difference": float(np.mean(a - b)), "low": low, "high": high, "p": p}


def _verdict(contenders: Sequence[Contender], defaults: int, score: float) -> Verdict:
    winner = contenders[0]
    if winner.p_holm is not None and winner.p_holm < ALPHA and winner.low is not None and winner.low > 0.0:
        return "yes"
    room = NEGLIGIBLE * abs(score)
    if all(one.high is not None and one.high < room for one in contenders if one.trial != defaults):
        return "no"
    return "undecided"

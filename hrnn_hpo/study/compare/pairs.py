"""Two configurations that were trained in different studies: by how much one is better, and how sure that is.

Numbers in, numbers out. What two studies share depends on their seeds, and is used as far as it goes:

- *paired by run*: studies with one `--seed` draw the same users and the same training seeds for run r. Differences are
  taken within a user of a run, as a confirmation does (confirm/verdict.py).
- *paired by user*: the runs differ, but at least half of either side's users were judged on both. A user's difference
  is that of two means over runs; only users of both sides count.
- *unpaired*: too few users are common. The difference is that of the means of all figures. Users that were judged on
  both sides still move together when users are drawn; the interval is wider all the same.
- a metric without a figure per user has its runs as units: paired by run where they are the same, else Welch's test.

Intervals count users and runs as drawn by chance: those of shared runs are confirm/intervals.py's, the others come from
a bootstrap that draws users for both sides at once and either side's runs by themselves (Owen 2007; conservative). p is
of the sign-flip test over users (evaluation/significance.py) where there are pairs, else of a normal distribution with
the bootstrap's deviation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, ttest_ind

from hrnn_hpo.errors import counted
from hrnn_hpo.evaluation.significance import N_RESAMPLES, paired_test
from hrnn_hpo.study.confirm.intervals import crossed_intervals
from hrnn_hpo.study.confirm.verdict import RunScores, side_by_side

Pairing = Literal["run", "user", "none"]
MAX_DRAWS = 100_000_000  # the bootstrap of very many users takes fewer resamples
LEAST_SHARED_RUNS = 2
LEAST_SHARED_USERS = 0.5  # of the users of the side that has more
Runs = Mapping[int, RunScores]


@dataclass(frozen=True)
class Difference:
    """The first side's mean minus the second's, on what was compared."""

    difference: float
    low: float
    high: float
    p: float
    pairing: Pairing
    n_users: tuple[int, int]  # of either side; (0, 0) where runs are the units
    n_runs: tuple[int, int]

    def words(self) -> str:
        """Return what was compared: "paired, 283 users, 5 runs"."""
        how = {"run": "paired", "user": "paired by user over runs", "none": "unpaired"}[self.pairing]
        users = f", {_both(self.n_users, 'user')}" if any(self.n_users) else ""
        return f"{how}{users}, {_both(self.n_runs, 'run')}"


def compare_runs(ours: Runs, theirs: Runs, *, level: float, n_resamples: int = N_RESAMPLES) -> Difference:
    """Return how two configurations differ; `ours` and `theirs` are their runs by the seed that drew the split."""
    shared = [key for key in ours if key in theirs and np.array_equal(ours[key].users, theirs[key].users)]
    with_users = all(len(run.users) for side in (ours, theirs) for run in side.values())
    if len(shared) >= LEAST_SHARED_RUNS:
        pairs = [(ours[key], theirs[key]) for key in shared]
        return _paired_by_run(pairs, with_users, level, n_resamples)
    if not with_users:
        return _unpaired_runs(ours, theirs, level)
    return _with_users(ours, theirs, level, n_resamples)


def _paired_by_run(
    pairs: list[tuple[RunScores, RunScores]], with_users: bool, level: float, n_resamples: int
) -> Difference:
    (first, second), users, runs = side_by_side([[one for one, _ in pairs], [other for _, other in pairs]])
    differences = first - second
    [interval] = crossed_intervals(differences[None], users, runs, level=level)
    low, high = interval if interval is not None else (-math.inf, math.inf)  # one user says nothing of others
    p = paired_test(first, second, users=users, n_resamples=n_resamples)
    n_users = len(np.unique(users)) if with_users else 0
    n_runs = (len(pairs), len(pairs))
    return Difference(float(differences.mean()), low, high, p, "run", (n_users, n_users), n_runs)


def _unpaired_runs(ours: Runs, theirs: Runs, level: float) -> Difference:
    first, second = ([run.score for run in side.values()] for side in (ours, theirs))
    difference = float(np.mean(first) - np.mean(second))
    n_runs = (len(first), len(second))
    if len(set(first)) == len(set(second)) == 1:  # no chance to be seen: the permutation test's smallest p
        p = 1.0 if difference == 0.0 else 2 / math.comb(sum(n_runs), n_runs[0])
        return Difference(difference, difference, difference, p, "none", (0, 0), n_runs)
    test = ttest_ind(first, second, equal_var=False)
    interval = test.confidence_interval(level)
    return Difference(difference, float(interval.low), float(interval.high), float(test.pvalue), "none", (0, 0), n_runs)


def _with_users(ours: Runs, theirs: Runs, level: float, n_resamples: int) -> Difference:
    """Compare runs that were drawn apart by their users' figures."""
    sides = [_Table.of(list(side.values())) for side in (ours, theirs)]
    common = np.intersect1d(sides[0].users, sides[1].users)
    paired = len(common) >= max(2, LEAST_SHARED_USERS * max(len(side.users) for side in sides))
    if paired:
        sides = [side.of_users(common) for side in sides]
    drawn = _drawn_differences(sides, n_resamples)
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    difference = sides[0].mean() - sides[1].mean()
    if paired:
        means = [side.sums.sum(axis=1) for side in sides]  # each user weighs 1
        p = paired_test(*means, n_resamples=n_resamples)
    else:
        deviation = float(drawn.std())
        p = float(2 * norm.sf(abs(difference) / deviation)) if deviation > 0 else float(difference == 0.0)
    n_users = (len(sides[0].users), len(sides[1].users))
    pairing: Pairing = "user" if paired else "none"
    return Difference(difference, float(low), float(high), p, pairing, n_users, (len(ours), len(theirs)))


@dataclass(frozen=True)
class _Table:
    """The figures of one side: sums and weights, users x runs."""

    users: NDArray[np.int64]  # (U,) ascending
    sums: NDArray[np.float64]  # (U, R)
    weights: NDArray[np.float64]  # (U, R)

    @classmethod
    def of(cls, runs: list[RunScores]) -> "_Table":
        users = np.unique(np.concatenate([run.users for run in runs]))
        sums, weights = np.zeros((2, len(users), len(runs)))
        for column, run in enumerate(runs):
            rows = np.searchsorted(users, run.users)
            sums[rows, column], weights[rows, column] = run.figures, 1.0
        return cls(users, sums, weights)

    def of_users(self, users: NDArray[np.int64]) -> "_Table":
        """Return some users alone, each with the same weight however many runs judged it."""
        rows = np.searchsorted(self.users, users)
        share = self.weights[rows].sum(axis=1, keepdims=True)
        return _Table(users, self.sums[rows] / share, self.weights[rows] / share)

    def mean(self) -> float:
        return float(self.sums.sum() / self.weights.sum())


def _drawn_differences(sides: list[_Table], n_resamples: int) -> NDArray[np.float64]:
    """Return differences of means when users (the same for both sides) and either side's runs are drawn anew."""
    everyone = np.union1d(sides[0].users, sides[1].users)
    generator = np.random.default_rng(0)
    n_resamples = min(n_resamples, max(1000, MAX_DRAWS // len(everyone)))
    block = max(1, 4_000_000 // len(everyone))
    rows = [np.searchsorted(everyone, side.users) for side in sides]
    found = []
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        user_weights = _times_drawn(generator, size, len(everyone))
        means, known = [], np.ones(size, dtype=np.bool_)
        for side, mine in zip(sides, rows, strict=True):
            run_weights = _times_drawn(generator, size, side.sums.shape[1])
            totals = ((user_weights[:, mine] @ side.sums) * run_weights).sum(axis=1)
            weights = ((user_weights[:, mine] @ side.weights) * run_weights).sum(axis=1)
            known &= weights > 0
            means.append(totals / np.where(weights > 0, weights, 1.0))
        found.append((means[0] - means[1])[known])
    return np.concatenate(found)


def _times_drawn(generator: np.random.Generator, size: int, n: int) -> NDArray[np.float64]:
    """Return how often each of n units is drawn in n draws with replacement, (size, n)."""
    drawn = generator.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _both(counts: tuple[int, int], noun: str) -> str:
    one, other = counts
    return counted(one, noun) if one == other else f"{one:,} and {other:,} {noun}s"

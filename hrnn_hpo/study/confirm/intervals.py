"""How sure a mean difference is when both the users and the training runs behind it are drawn by chance.

Numbers in, numbers out. What is compared, and what the verdict is called, is verdict's business.

The variance of a mean of differences of users in runs is

    V = V_users + s_run^2 sum_r n_r^2 / N^2

where V_users is the usual variance of a mean of clusters, the clusters being the users, and s_run^2 the variance
between runs (evaluation/variances.py). The interval is the mean -+ t sqrt(V), with

    V^2 / (V_users^2 / (U - 1) + V_runs V / (R - 1))

degrees of freedom: those of the users where runs hardly differ, those of the runs where they alone matter.
(Satterthwaite 1946 has V_runs^2 in place of V_runs V, which takes an estimate from three runs for surer than it is.)

scripts/benchmarks/search/intervals.py simulates how often one side misses, beside the bootstrap that draws users and
runs anew (Owen 2007): it counts the rest three times where runs have no luck, and has too few runs to draw where they
have much.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hrnn_hpo.evaluation.variances import variances_of

Interval = tuple[float, float]


def crossed_intervals(
    differences: NDArray[np.float64], users: NDArray[np.integer], runs: NDArray[np.integer], *, level: float
) -> list[Interval | None]:
    """Return the interval of the mean of each of m rows of differences; None where nothing can be said.

    `differences` is (m, N): those of m challengers on the same users in the same runs, which `users` and `runs` (N,)
    name; no user stands twice in a run. Where user and run are one thing (each run its own user), runs are the units.
    Fewer than two users say nothing.
    """
    _, rows = np.unique(users, return_inverse=True)
    _, columns = np.unique(runs, return_inverse=True)
    return [_interval(one, rows, columns, level) for one in differences]


def _interval(
    differences: NDArray[np.float64], users: NDArray[np.intp], runs: NDArray[np.intp], level: float
) -> Interval | None:
    n = len(differences)
    n_users, n_runs = int(users.max()) + 1, int(runs.max()) + 1
    if n_users < 2:
        return None
    mean = float(differences.mean())
    centred = differences - mean
    sums = np.bincount(users, weights=centred)  # (U,)
    of_users = float(sums @ sums) / n**2 * n_users / (n_users - 1)
    of_runs, freedom = 0.0, float(n_users - 1)
    if 1 < n_runs < n:  # otherwise each run is one figure
        per_run = np.bincount(runs)  # (R,)
        of_runs = variances_of(differences, users, runs).run * float(per_run @ per_run) / n**2
    variance = of_users + of_runs
    if variance == 0.0:
        return mean, mean
    if of_runs > 0.0:
        freedom = variance**2 / (of_users**2 / (n_users - 1) + of_runs * variance / (n_runs - 1))
    half = float(stats.t.ppf((1.0 + level) / 2.0, freedom)) * math.sqrt(variance)
    return mean - half, mean + half

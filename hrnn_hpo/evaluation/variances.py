"""Where figures of users in runs vary: between users, between runs, and the rest.

Numbers in, numbers out. A figure is a mean, a user's part, a run's part (the luck of a seed and a split, shared by all
users of the run) and a rest, each with a variance of its own: crossed random effects, in general unbalanced.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Variances(NamedTuple):
    """Variances of a figure's parts, each at least 0."""

    user: float
    run: float
    rest: float


def variances_of(figures: NDArray[np.float64], users: NDArray[np.integer], runs: NDArray[np.integer]) -> Variances:
    """Return the variances that figures (N,) of users in runs show, by Henderson's first method.

    `users` and `runs` (N,) name them; no user stands twice in a run. Sums of squares within users, within runs and in
    all are set equal to what the three variances make of them (Henderson 1953; Searle, Casella & McCulloch 1992,
    section 5.3). Where no user stands in two runs, a user's part cannot be told from the rest: both have half.
    """
    _, rows = np.unique(users, return_inverse=True)
    _, columns = np.unique(runs, return_inverse=True)
    n = len(figures)
    centred = figures - figures.mean()
    per_user, per_run = np.bincount(rows), np.bincount(columns)  # (U,), (R,)
    n_users, n_runs = len(per_user), len(per_run)
    squares = [
        float(centred @ centred),
        float((np.bincount(rows, weights=centred) ** 2 / per_user).sum()),
        float((np.bincount(columns, weights=centred) ** 2 / per_run).sum()),
    ]
    shared_users, shared_runs = float(per_user @ per_user) / n, float(per_run @ per_run) / n
    expected = [  # by variance of users, of runs, of the rest
        [n - shared_users, n - shared_runs, n - 1],
        [n - shared_users, n_users - shared_runs, n_users - 1],
        [n_runs - shared_users, n - shared_runs, n_runs - 1],
    ]
    found = np.linalg.lstsq(np.array(expected), np.array(squares), rcond=1e-9)[0]
    rounding = 1e-12 * squares[0] / n
    return Variances(*(float(variance) if variance > rounding else 0.0 for variance in found))

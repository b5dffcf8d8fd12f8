"""What trials say about scores that nobody has measured: a Gaussian process with noise over a study's space.

Numbers alone: effects.py and outlook.py ask it. The library is scikit-learn; ours are the encoding of a configuration
and the priors that keep a fit to twenty trials sane.

- A number lies in [0, 1] of its range, on its scale; a choice has a column for each of its values. What has no effect
  beside the rest stands at its default, so conditional hyperparameters need no treatment of their own.
- Matern 5/2 with a length scale for each column, whose prior grows with the root of the number of columns (Hvarfner,
  Hellsten & Nardi 2024). Theirs is eight times as long, which makes a search see far and an error too small: it takes
  the unseen for flat (docs/benchmarks.md).
- Scores far below the others (a learning rate that diverges) would make a rough surface of a smooth one: what lies
  below Tukey's lower fence is taken to lie on it, the two configurations that are asked about aside.
- Pruned trials have no final score, and are left out.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import Value, same

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

LEAST_TRIALS = 10
TRIALS_PER_PARAMETER = 2
MAX_TRIALS = 200  # a fit takes a second with 100 and grows with the cube
Matrix = NDArray[np.float64]
TYPICAL = 0.5  # length scale, a priori, over the root of the number of columns
_LENGTH_SPREAD = 0.75  # of its logarithm
_NOISE, _NOISE_SPREAD = 0.3, 1.0  # median variance of a trial's noise as a share of all, and its logarithm's spread


@dataclass(frozen=True)
class Surrogate:
    """A fitted process. Scores are in the objective's unit; rows are encoded configurations."""

    space: SearchSpace
    rows: Matrix  # (n, D) of the trials that it learned from
    noise: float  # deviation of a trial's score from the surface
    mean_score: float
    scale: float
    process: "GaussianProcessRegressor"

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> Matrix:
        """Return configurations as rows, (n, D)."""
        return encode(self.space, configurations)

    def predict(self, averages: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
        """Return means (G,) and covariance (G, G) of averages of the surface, each over the rows of one matrix.

        All matrices have the same number of rows.
        """
        kernel, n_groups = self.process.kernel_, len(averages)
        stacked = np.concatenate(averages)
        to_trials = kernel(stacked, self.rows).reshape(n_groups, -1, len(self.rows)).mean(axis=1)  # (G, n)
        size = len(averages[0])
        among = kernel(stacked, stacked).reshape(n_groups, size, n_groups, size).mean(axis=(1, 3))
        explained = to_trials @ cho_solve((self.process.L_, True), to_trials.T)
        means = self.mean_score + self.scale * (to_trials @ self.process.alpha_)
        return means, self.scale**2 * (among - explained)


def n_needed(space: SearchSpace, configurations: Sequence[Mapping[str, Any]]) -> int:
    """Return how many complete trials it takes before anything is said: ten, and two for each varied hyperparameter."""
    return max(LEAST_TRIALS, TRIALS_PER_PARAMETER * len(varied(space, configurations)))


def varied(space: SearchSpace, configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the searched hyperparameters that differ among some configurations, what has no effect left out."""
    parts = [space.varied(values) for values in configurations]
    return [
        name for name in space.searched if len({(type(part[name]), part[name]) for part in parts if name in part}) > 1
    ]


def fit(
    space: SearchSpace, configurations: Sequence[Mapping[str, Any]], scores: Sequence[float], *, kept: float
) -> Surrogate:
    """Return the process that some trials teach. Scores from `kept` on are taken as they are, however low.

    The same trials give the same process.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor  # two seconds that no worker needs
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    chosen = _some(len(scores), scores)
    rows = encode(space, [configurations[i] for i in chosen])
    values = np.asarray(scores, dtype=np.float64)[chosen]
    low, high = np.quantile(values, [0.25, 0.75])
    if high > low:  # where most scores are equal every other one would be an outlier
        values = np.maximum(values, min(low - 1.5 * (high - low), kept))
    mean_score, scale = float(values.mean()), float(values.std()) or 1.0
    n_columns = rows.shape[1]
    typical = TYPICAL * math.sqrt(n_columns)
    kernel = Matern(np.full(n_columns, typical), (0.05, 1000.0), nu=2.5) + WhiteKernel(_NOISE, (1e-4, 2.0))
    # The parameters are logarithms, in the kernel's order: length scales, then noise.
    centers = np.array([math.log(typical)] * n_columns + [math.log(_NOISE)])
    spreads = np.array([_LENGTH_SPREAD] * n_columns + [_NOISE_SPREAD])
    process = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=_most_probable(centers, spreads))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters at their bounds: an unimportant column's length scale
        process.fit(rows, (values - mean_score) / scale)
    noise = scale * math.sqrt(float(np.exp(process.kernel_.theta[-1])))
    return Surrogate(space, rows, noise, mean_score, scale, process)


def encode(space: SearchSpace, configurations: Sequence[Mapping[str, Any]]) -> Matrix:
    """Return configurations as rows of numbers in [0, 1], (n, D)."""
    completed = [space.complete(values) for values in configurations]
    columns = [
        _columns(parameter, [values[name] for values in completed]) for name, parameter in space.searched.items()
    ]
    return np.concatenate(columns, axis=1)


def _columns(parameter: Parameter, values: Sequence[Value]) -> Matrix:
    if parameter.type == "categorical":
        return np.array([[float(same(value, choice)) for choice in parameter.choices] for value in values])
    assert parameter.range is not None
    low, high = parameter.low, parameter.high
    found = np.array(values, dtype=np.float64)
    if parameter.log:
        low, high, found = math.log(low), math.log(high), np.log(found)
    return ((found - low) / ((high - low) or 1.0))[:, None]


def _most_probable(centers: NDArray[np.float64], spreads: NDArray[np.float64]) -> Callable[..., tuple[Any, float]]:
    """Return an optimizer for scikit-learn that adds normal priors of the logarithms to the likelihood."""

    def optimizer(objective: Callable[..., Any], start: Any, bounds: Any) -> tuple[Any, float]:
        def loss(theta: Any) -> tuple[float, Any]:
            value, gradient = objective(theta)
            away = (theta - centers) / spreads
            return value + 0.5 * float(away @ away), gradient + away / spreads

        # From unimportant columns and from important ones: a valley each.
        starts = [start, np.where(np.arange(len(start)) < len(start) - 1, math.log(0.5), start)]
        found = [minimize(loss, one, jac=True, method="L-BFGS-B", bounds=bounds) for one in starts]
        best = min(found, key=lambda one: float(one.fun))
        return best.x, float(best.fun)

    return optimizer


def _some(n: int, scores: Sequence[float]) -> list[int]:
    """Return which trials to learn from: all, or of very many the best tenth and others at random."""
    if n <= MAX_TRIALS:
        return list(range(n))
    order = [int(i) for i in np.argsort(-np.asarray(scores), kind="stable")]
    best, others = order[: MAX_TRIALS // 10], order[MAX_TRIALS // 10 :]
    drawn = np.random.default_rng(0).permutation(len(others))[: MAX_TRIALS - len(best)]
    return sorted([*best, *(others[int(i)] for i in drawn)])

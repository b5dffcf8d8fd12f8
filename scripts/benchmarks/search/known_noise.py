"""A search that is told its noise: a Gaussian process whose trials have error variances of their own.

races.py replays it, and names the incumbent by it; no product uses it (docs/benchmarks.md says why). All trials are
scored on the same users, and most of a score's standard error is common to them (users are easy or hard for every
configuration), which shifts all scores alike and ranks none. So what the process is told is the rest: of the users'
figures less each user's mean over the trials, the variance over users, in the mean over trials, since a figure that is
mostly 0 varies more where it is larger and each trial's own would mark down the good ones. A pruned trial counts as if
it gained from there on what complete ones did, with the variance of their gains on top. Proposals are drawn across the
space and near the best posterior means; the one with the most expected improvement over them is taken, so choices,
steps, log scales and conditions need no treatment of their own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.stats import norm

from hrnn_hpo.search.prior import draw, draw_near
from hrnn_hpo.search.space import SearchSpace, distributions
from hrnn_hpo.study.propose.views import in_its_place, view_of
from hrnn_hpo.study.report.surrogate import TYPICAL, encode
from hrnn_hpo.study.seeds import trial_seed
from hrnn_hpo.study.trials import DONE

Matrix = NDArray[np.float64]
NOISES = {"gp-paired": "paired", "gp-whole": "whole", "gp-fitted": "fitted"}  # what each of the samplers is told
N_STARTUP = 8  # random trials before the first fit
N_ACROSS, N_NEAR, N_PARENTS = 150, 25, 4  # proposals over the space, and near each of the best
# Medians of the deviations of the surface and of what no noise explains, both as shares of the scores', and the spreads
# of the logarithms of length scales, of the first and of the second.
SURFACE, REST = 0.7, 0.3
SPREADS = (0.75, 0.7, 1.0)
STREAM = 7


class Process:
    """A Matern 5/2 process over encoded configurations, (n, D), whose scores (n,) have known error variances (n,).

    Of scores less `mean_score` over `scale` it holds the mean `middle`, the length scales (D,), and the variances of
    the surface and of the rest that no known error explains.
    """

    def __init__(self, rows: Matrix, scores: Matrix, variances: Matrix) -> None:
        self.rows, self.mean_score, self.scale = rows, float(scores.mean()), float(scores.std()) or 1.0
        values, noise = (scores - self.mean_score) / self.scale, variances / self.scale**2
        n, n_columns = rows.shape
        ones = np.ones(n)
        apart = (rows[:, None, :] - rows[None, :, :]) ** 2  # (n, n, D)
        typical = math.log(TYPICAL * math.sqrt(n_columns))
        centers = np.array([typical] * n_columns + [math.log(SURFACE), math.log(REST)])
        spreads = np.array([SPREADS[0]] * n_columns + list(SPREADS[1:]))

        def loss(theta: Matrix) -> tuple[float, Matrix]:
            """Return minus the logarithm of the posterior density, the mean at its best, and the gradient."""
            lengths, surface, rest = np.exp(-2 * theta[:-2]), math.exp(2 * theta[-2]), math.exp(2 * theta[-1])
            s = np.sqrt(5 * (apart @ lengths))
            decay = surface * np.exp(-s)
            kernel = decay * (1 + s + s * s / 3)
            factor = cholesky(kernel + np.diag(noise + rest + 1e-8), lower=True)
            inverse = cho_solve((factor, True), np.eye(n))
            weights = inverse @ (values - float(ones @ inverse @ values) / float(inverse.sum()))
            outer = inverse - np.outer(weights, weights)
            by_length = (5 / 3) * decay * (1 + s) * outer
            gradient = [0.5 * np.einsum("ij,ijd->d", by_length, apart) * lengths]
            gradient += [[float((kernel * outer).sum())], [rest * float(np.trace(outer))]]
            away = (theta - centers) / spreads
            value = 0.5 * float(weights @ values) + float(np.log(np.diag(factor)).sum())
            return value + 0.5 * float(away @ away), np.concatenate(gradient) + away / spreads

        bounds = [(center - 3 * spread, center + 3 * spread) for center, spread in zip(centers, spreads, strict=True)]
        theta = minimize(loss, centers, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30}).x
        self.lengths, self.surface, self.rest = np.exp(theta[:-2]), math.exp(2 * theta[-2]), math.exp(2 * theta[-1])
        total = self._kernel(rows, rows) + np.diag(noise + self.rest + 1e-8)
        self._factor = cholesky(total, lower=True)
        solved = cho_solve((self._factor, True), np.stack([values, ones], axis=1))
        self.middle = float(ones @ solved[:, 0]) / float(ones @ solved[:, 1])
        self._weights = solved[:, 0] - self.middle * solved[:, 1]

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Return the surface's posterior means and deviations at some rows, (m,) each."""
        across = self._kernel(rows, self.rows)
        explained = solve_triangular(self._factor, across.T, lower=True)
        variances = np.maximum(self.surface - (explained**2).sum(axis=0), 1e-12)
        means = self.middle + across @ self._weights
        return self.mean_score + self.scale * means, self.scale * np.sqrt(variances)

    def _kernel(self, one: Matrix, other: Matrix) -> Matrix:
        s = math.sqrt(5) * np.sqrt((((one[:, None, :] - other[None, :, :]) / self.lengths) ** 2).sum(axis=2))
        return self.surface * np.exp(-s) * (1 + s + s * s / 3)


@dataclass(frozen=True)
class Told:
    """What a process may be told of a study's ended trials: for each its row, score and error variance."""

    rows: Matrix  # (n, D)
    scores: Matrix  # (n,)
    variances: Matrix  # (n,)


def error_variances(figures: Matrix, noise: str) -> Matrix:
    """Return the error variance of each trial's score, (n,), from the users' figures, (n, users).

    `paired` is the error that ranks trials, `whole` the square of each score's standard error, `fitted` none.
    """
    n_trials, n_users = figures.shape
    if noise == "fitted":
        return np.zeros(n_trials)
    if noise == "whole":
        return figures.var(axis=1, ddof=1) / n_users
    own = figures - figures.mean(axis=0)
    # A mean that the trial is part of takes an n-th of its own error away.
    return np.full(n_trials, own.var(axis=1, ddof=1).mean() / n_users * n_trials / max(n_trials - 1, 1))


def tell(space: SearchSpace, trials: Sequence[FrozenTrial], figures: Callable[[int, int], Matrix], noise: str) -> Told:
    """Return what is told of ended trials, numbered by their places: `figures` has the users' by place and epoch."""
    reports = [np.array([value for _, value in sorted(one.intermediate_values.items())]) for one in trials]
    best = np.stack([figures(one.number, int(kept.argmax()) + 1) for one, kept in zip(trials, reports, strict=True)])
    variances = error_variances(best, noise)
    complete = [kept for one, kept in zip(trials, reports, strict=True) if one.value is not None and not _is_cut(one)]
    scores = np.empty(len(trials))
    for place, (one, kept) in enumerate(zip(trials, reports, strict=True)):
        scores[place] = kept.max()
        if _is_cut(one):
            gains = [other.max() - other[: len(kept)].max() for other in complete]
            scores[place] += np.mean(gains)
            variances[place] += np.var(gains)
    return Told(encode(space, [one.params for one in trials]), scores, variances)


def _is_cut(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.PRUNED


def posterior_means(space: SearchSpace, values: Sequence[Mapping[str, Any]], figures: Matrix) -> Matrix:
    """Return the scores of some configurations as a process that is told their noise sees them, (n,).

    `figures` are the users', (n, users). Without a fit, for very few configurations, they are the scores themselves.
    """
    if len(values) < N_STARTUP:
        return figures.mean(axis=1)
    rows = encode(space, values)
    return Process(rows, figures.mean(axis=1), error_variances(figures, "paired")).predict(rows)[0]


class NoiseToldSampler(BaseSampler):
    """Expected improvement over the best posterior mean of a process that is told its noise; random trials first."""

    def __init__(self, space: SearchSpace, seed: int, figures: Callable[[int, int], Matrix], noise: str) -> None:
        self._space, self._seed, self._figures, self._noise = space, seed, figures, noise
        self._distributions = distributions(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        raise AssertionError(f"{param_name} is proposed with the others")

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        rng = np.random.default_rng(trial_seed(self._seed, in_its_place(study, trial).number, STREAM))
        ended = [one for one in view_of(study).get_trials(deepcopy=False, states=DONE) if one.intermediate_values]
        if len(ended) < N_STARTUP:
            return self._space.draw(lambda parameter: draw(parameter, rng))
        told = tell(self._space, ended, self._figures, self._noise)
        process = Process(told.rows, told.scores, told.variances)
        means, _ = process.predict(told.rows)
        proposals = [self._space.draw(lambda parameter: draw(parameter, rng)) for _ in range(N_ACROSS)]
        for place in np.argsort(-means, kind="stable")[:N_PARENTS]:
            parent = self._space.complete(ended[place].params)
            for _ in range(N_NEAR):
                proposals.append(self._space.draw(lambda one, near=parent: draw_near(one, near[one.name], rng)))
        expected, deviations = process.predict(encode(self._space, proposals))
        leads = (expected - means.max()) / deviations
        return proposals[int(np.argmax(deviations * (leads * norm.cdf(leads) + norm.pdf(leads))))]

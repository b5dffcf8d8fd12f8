"""What each hyperparameter brought, with its error: the way from the defaults to the winner, one step at a time.

The effect of a hyperparameter is the difference of two averages of the surface that surrogate.py learns: of all trials
with the winner's value in place of their own, and with the default's (partial dependence, Friedman 2001). Its standard
error is the process's own, noise of the scores included, times CAUTION; it holds for the trials there are, not for
another space. A hyperparameter that has no part in some configurations is averaged over those where it has.

What is said of it:

- *matters*: the effect is at least two standard errors from 0;
- *does not matter between A and B*: within that range around the winner's value the score differs from the winner's by
  less than one trial's noise, two standard errors included;
- *cannot be told*: neither. A wide error is not a small effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import Value, same, show
from hrnn_hpo.study.report.surrogate import Surrogate, n_needed, varied

Finding = Literal["matters", "does not matter", "cannot be told", "not in the winner"]
N_STEPS = 16  # of a hyperparameter's range
MAX_AVERAGED = 60  # trials in an average
LEAST_ACTIVE = 5  # trials in which a conditional hyperparameter has a part
SURE = 2.0  # standard errors
# Times the process's own deviation: it takes its parameters for known (scripts/benchmarks/search/answers.py).
CAUTION = 1.4
TOP = 4  # on the console


@dataclass(frozen=True)
class Effect:
    """What one hyperparameter brought, in the objective's unit."""

    name: str
    finding: Finding
    default: Value
    winner: Value | None  # None where it has no part in the winner
    gain: float | None = None  # the winner's value in place of the default's; None where they are the same
    error: float | None = None  # its standard error
    flat: list[Value] | None = None  # [from, to] of a range, the choices of a choice: where it does not matter
    among: bool = False  # whether `flat` are choices, which may be numbers

    def sentence(self) -> str:
        """Return it in words."""
        if self.finding == "not in the winner":
            return f"{self.name} has no part in the winner"
        if self.finding == "does not matter":
            return f"{self.name} does not matter {self.where()}"
        gain = "" if self.gain is None else f"from {_short(self.default)} to {_short(self.winner)} "
        if self.finding == "matters":
            return f"{self.name}: {gain}brings {self.gain:+.4f} ± {self.error:.4f}"
        told = "" if self.gain is None else f" ({gain}{self.gain:+.4f} ± {self.error:.4f})"
        return f"{self.name}: cannot be told{told}"

    def where(self) -> str:
        """Return where it does not matter, in words; nothing where that cannot be told."""
        if self.flat is None:
            return ""
        if self.among:
            return "among " + ", ".join(map(show, self.flat))
        return f"between {_short(self.flat[0])} and {_short(self.flat[1])}"


@dataclass(frozen=True)
class Effects:
    """What the hyperparameters of a study brought, the largest effects first; empty where the trials are too few."""

    n_trials: int  # complete ones
    n_needed: int
    noise: float | None = None  # standard deviation of one trial's score around the surface
    effects: tuple[Effect, ...] = ()

    def sentences(self) -> list[str]:
        """Return a sentence for each hyperparameter, or why there is none."""
        if self.noise is None:
            return [
                f"What each hyperparameter brought cannot be told from {self.n_trials} complete trials; it takes "
                f"{self.n_needed} whose scores differ."
            ]
        return [effect.sentence() for effect in self.effects]

    def brief(self) -> str:
        """Return the largest effects in one line."""
        if self.noise is None:
            return self.sentences()[0]
        order = {"matters": 0, "does not matter": 1}
        told = sorted((one for one in self.effects if one.finding in order), key=lambda one: order[one.finding])
        if not told:
            return "What each hyperparameter brought: nothing that can be told from noise yet."
        return "What they brought: " + "; ".join(one.sentence() for one in told[:TOP]) + "."


def measure_effects(
    surrogate: Surrogate, configurations: Sequence[Mapping[str, Any]], winner: Mapping[str, Any]
) -> Effects:
    """Return what each hyperparameter brings on the way from the space's defaults to the winner."""
    space = surrogate.space
    found = [_effect(surrogate, name, configurations, winner) for name in varied(space, configurations)]
    rank = {"matters": 0, "cannot be told": 2, "does not matter": 1, "not in the winner": 3}
    found.sort(key=lambda one: (rank[one.finding], -abs(one.gain or 0.0)))
    return Effects(len(configurations), n_needed(space, configurations), surrogate.noise, tuple(found))


def _effect(
    surrogate: Surrogate, name: str, configurations: Sequence[Mapping[str, Any]], winner: Mapping[str, Any]
) -> Effect:
    space = surrogate.space
    parameter = space.searched[name]
    default, chosen = parameter.default, space.varied(winner).get(name)
    if chosen is None:
        return Effect(name, "not in the winner", default, None)
    active = averaged(space, name, configurations)
    if len(active) < LEAST_ACTIVE:
        return Effect(name, "cannot be told", default, chosen)
    grid = _grid(parameter, default, chosen)
    means, covariance = surrogate.predict(
        [surrogate.encode([{**one, name: value} for one in active]) for value in grid]
    )
    at, start = _index(grid, chosen), _index(grid, default)
    away = means - means[at]
    variances = np.diag(covariance) + covariance[at, at] - 2 * covariance[at]
    errors = CAUTION * np.sqrt(np.maximum(variances, 0.0))
    gain, error = (None, None) if at == start else (float(-away[start]), float(errors[start]))
    flat = _flat(parameter, grid, at, np.abs(away) + SURE * errors <= surrogate.noise)
    if gain is not None and error is not None and abs(gain) >= SURE * error:
        finding: Finding = "matters"
    else:
        finding = "cannot be told" if flat is None else "does not matter"
    return Effect(name, finding, default, chosen, gain, error, flat, parameter.type == "categorical")


def averaged(space: SearchSpace, name: str, configurations: Sequence[Mapping[str, Any]]) -> list[dict[str, Value]]:
    """Return the configurations over which a hyperparameter's effect is averaged: where it has a part, MAX_AVERAGED."""
    active = [values for values in map(space.varied, configurations) if name in values]
    return active[:: -(-len(active) // MAX_AVERAGED) or 1]


def _grid(parameter: Parameter, *values: Value) -> list[Value]:
    """Return values across a hyperparameter's range in order, some given ones among them."""
    if parameter.type == "categorical":
        return list(parameter.choices)
    low, high = parameter.low, parameter.high
    points = np.geomspace(low, high, N_STEPS) if parameter.log else np.linspace(low, high, N_STEPS)
    inside = [parameter.closest(round(x) if parameter.type == "integer" else float(x)) for x in points]
    return sorted({*inside, *values})


def _index(grid: Sequence[Value], value: Value) -> int:
    return next(index for index, one in enumerate(grid) if same(one, value))


def _flat(parameter: Parameter, grid: Sequence[Value], at: int, inside: NDArray[np.bool_]) -> list[Value] | None:
    """Return the stretch around the winner's value where the score stays within noise; None where there is none."""
    if parameter.type == "categorical":
        alike = [value for value, holds in zip(grid, inside, strict=True) if holds]
        return alike if len(alike) > 1 else None
    low = high = at
    while low > 0 and inside[low - 1]:
        low -= 1
    while high < len(grid) - 1 and inside[high + 1]:
        high += 1
    return [grid[low], grid[high]] if high > low else None


def _short(value: Value | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else show(value)

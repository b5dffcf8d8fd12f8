"""When to stop: what more trials are worth. "20 more trials are worth less than +0.001 with 90 %".

What counts is the true score of what the study ends up with: noise lifts the best score with every trial and gains
nothing. The search to come is played on surfaces that the trials so far leave possible (posterior draws of the process
of surrogate.py: a Monte Carlo knowledge gradient of many trials, Frazier, Powell & Dayanik 2009):

1. Draw a surface, jointly at the best configuration and at proposals: half across the space, half near the best trials,
   as samplers do.
2. Each proposal scores its height plus a trial's noise. The next trials are drawn among them; as a sampler learns while
   it goes on, each of them is the better by score of two.
   Where a finite space has no more untried configurations than that, these are the trials to come.
3. The best of them by score is what a further study would name beside the present best. Confirmation then chooses, so
   what is gained is the height that the better of both has above the present best.

The statement is the 90 % point of that gain over all draws; scripts/benchmarks/search/answers.py measures how often it
holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import RandomSampler

from hrnn_hpo.search.space import SearchSpace, Value
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.report.surrogate import Surrogate, n_needed

N_MORE = 20  # trials that are spoken of
LEVEL = 0.9
N_PROPOSALS = 200  # across the space, and as many near the best
N_PARENTS = 5  # the best trials
NEAR = 0.15  # of a range: how far from its parent a number moves; a choice moves as often
N_DRAWS = 600


@dataclass(frozen=True)
class Outlook:
    """What more trials are worth, in the objective's unit; None where the trials so far are too few to tell."""

    n_trials: int  # complete ones
    n_needed: int
    n_more: int = N_MORE
    level: float = LEVEL
    worth: float | None = None  # the gain stays below it with `level`
    expected: float | None = None  # the mean gain

    def sentence(self) -> str:
        """Return it in words."""
        if self.n_more == 0:
            return "No more trials are left: every configuration of the space has been tried."
        if self.worth is None or self.expected is None:
            return (
                f"What more trials are worth cannot be told from {self.n_trials} complete ones; it takes "
                f"{self.n_needed} whose scores differ."
            )
        trials = f"{self.n_more} more trials are" if self.n_more > 1 else "1 more trial is"
        trials += "" if self.n_more == N_MORE else " left in the space, and"
        return f"{trials} worth less than {self.worth:+.4f} with {self.level:.0%} ({self.expected:+.4f} on average)."


def look_ahead(
    surrogate: Surrogate,
    configurations: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    best: Mapping[str, Any],
    left: Sequence[Mapping[str, Any]] | None = None,
) -> Outlook:
    """Return what N_MORE trials are worth beyond the configuration `best`.

    `left` are the untried configurations of a finite space, where there are no more than that: the trials to come.
    """
    needed, n_more = n_needed(surrogate.space, configurations), N_MORE if left is None else len(left)
    if not n_more:
        return Outlook(len(configurations), needed, n_more, worth=0.0, expected=0.0)
    generator = np.random.default_rng(0)
    parents = [configurations[int(i)] for i in np.argsort(-np.asarray(scores), kind="stable")[:N_PARENTS]]
    proposals: Sequence[Mapping[str, Any]] = left or [
        *across(surrogate.space, N_PROPOSALS, 0),
        *near(surrogate.space, parents, N_PROPOSALS, generator),
    ]
    rows = surrogate.encode([best, *proposals])
    means, covariance = surrogate.predict(list(rows[:, None]))
    heights = _draw(means, covariance, generator)  # (N_DRAWS, 1 + proposals)
    gains = heights[:, 1:] - heights[:, :1]
    seen = heights[:, 1:] + surrogate.noise * generator.standard_normal(gains.shape)
    draws = np.arange(N_DRAWS)[:, None]
    if left is None:
        first, second = np.moveaxis(generator.integers(0, gains.shape[1], size=(N_DRAWS, 2, N_MORE)), 1, 0)
        trials = np.where(seen[draws, first] >= seen[draws, second], first, second)  # (N_DRAWS, N_MORE)
    else:
        trials = np.tile(np.arange(len(left)), (N_DRAWS, 1))
    named = trials[np.arange(N_DRAWS), seen[draws, trials].argmax(axis=1)]
    gained = np.maximum(gains[np.arange(N_DRAWS), named], 0.0)
    worth, expected = float(np.quantile(gained, LEVEL)), float(gained.mean())
    return Outlook(len(configurations), needed, n_more, worth=worth, expected=expected)


def across(space: SearchSpace, n: int, seed: int) -> list[dict[str, Value]]:
    """Return configurations drawn from the whole space."""
    with optuna_quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return [space.varied(space.suggest(study.ask())) for _ in range(n)]


def near(
    space: SearchSpace, parents: Sequence[Mapping[str, Any]], n: int, generator: np.random.Generator
) -> list[dict[str, Value]]:
    """Return configurations around some others: a number moves by about NEAR of its range, a choice as often."""
    fresh = across(space, n, int(generator.integers(2**31)))
    found = []
    for number, other in enumerate(fresh):
        parent = space.varied(parents[number % len(parents)])
        child: dict[str, Value] = dict(other)  # what has no part in the parent comes from anywhere
        for name, value in parent.items():
            parameter = space.searched[name]
            if parameter.type == "categorical" or isinstance(value, bool | str):
                child[name] = other.get(name, value) if generator.random() < NEAR else value
                continue
            low, high, at = parameter.low, parameter.high, float(value)
            if parameter.log:
                low, high, at = np.log(low), np.log(high), np.log(at)
            moved = float(np.clip(at + NEAR * (high - low) * generator.standard_normal(), low, high))
            moved = float(np.exp(moved)) if parameter.log else moved
            child[name] = parameter.closest(round(moved) if parameter.type == "integer" else moved)
        found.append(space.varied(child))
    return found


def _draw(means: NDArray[np.float64], covariance: NDArray[np.float64], generator: np.random.Generator) -> Any:
    """Return draws of a normal distribution whose covariance may be singular but for rounding, (N_DRAWS, n)."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return means + generator.standard_normal((N_DRAWS, len(means))) @ root.T

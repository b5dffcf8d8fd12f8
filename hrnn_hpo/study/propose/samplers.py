"""Samplers by name, and the wrapper that makes a stopped and resumed study propose the same trials.

A seeded Optuna sampler that lives as long as its process repeats itself after a restart. SeededSampler builds a
fresh one before each trial, from the study's seed and the trial's number.
"""

import importlib
from collections.abc import Callable
from typing import Any

from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.settings import nearest
from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.propose.deterministic import BatchSampler
from hrnn_hpo.study.propose.distinct import DistinctSampler
from hrnn_hpo.study.propose.mixing import MixingSampler
from hrnn_hpo.study.propose.views import without_superseded
from hrnn_hpo.study.propose.wrapping import WrappingSampler
from hrnn_hpo.study.seeds import ordinal, trial_seed

SAMPLERS = ("tpe", "random", "gp", "qmc", "cma-es", "grid")
DETERMINISTIC = ("tpe", "random", "gp")  # qmc and cma-es carry a state from trial to trial
SamplerLike = str | BaseSampler | Callable[[int], BaseSampler]


class SeededSampler(WrappingSampler):
    """Build `factory(seed)` before each trial, the seed drawn from the study's seed and the trial's number.

    Retries are left out of the count, and a retry takes its original's seed, so that a study whose trials were
    interrupted proposes what an undisturbed one does.
    """

    def __init__(self, factory: Callable[[int], BaseSampler], seed: int) -> None:
        self._factory = factory
        self._seed = seed
        super().__init__(self._build(seed))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner = self._build(trial_seed(self._seed, ordinal(study, trial)))
        super().before_trial(study, trial)

    def _seen(self, study: Study, trial: FrozenTrial) -> Study:
        return without_superseded(study)

    def _build(self, seed: int) -> BaseSampler:
        # A study's own seed may be longer than the 32 bits that Optuna's samplers take.
        with experimental_allowed():
            return self._factory(seed % 2**32)


def make_sampler(
    sampler: SamplerLike,
    seed: int,
    space: SearchSpace | None = None,
    *,
    deterministic: bool = False,
    priors: bool = True,
) -> BaseSampler:
    """Return a sampler by name, from a factory that takes a seed, or the object as it is.

    With `priors`, names other than grid and factories give one that also draws from the space's priors, where it has
    any; over a finite space, one that repeats no configuration. Raises ConfigError for an unknown name, and for a grid
    over a space that has no finite one.
    """
    if deterministic and sampler not in DETERMINISTIC:
        raise ConfigError(
            f"--deterministic needs a sampler that depends on seed and earlier trials alone "
            f"({', '.join(DETERMINISTIC)}), but got {name_of(sampler)}."
        )
    if isinstance(sampler, BaseSampler):
        return sampler
    made = _make_sampler(sampler, seed, space)
    if priors and space is not None and sampler != "grid" and space.priors():
        made = MixingSampler(made, space, seed)
    if deterministic:
        made = BatchSampler(made)
    if space is None or space.cardinality() is None:
        return made
    return DistinctSampler(made, space)


def _make_sampler(sampler: str | Callable[[int], BaseSampler], seed: int, space: SearchSpace | None) -> BaseSampler:
    if not isinstance(sampler, str):
        return SeededSampler(sampler, seed)
    if sampler not in SAMPLERS:
        raise ConfigError(
            f"--sampler must be one of {', '.join(SAMPLERS)}, but got {sampler!r}{nearest(sampler, list(SAMPLERS))}"
        )
    if sampler == "grid" and space is not None and space.cardinality() is None:
        endless = [name for name, parameter in space.searched.items() if parameter.n_values() is None]
        raise ConfigError(f"--sampler grid needs a `step` for every continuous range, but got none for {endless}.")
    if sampler == "grid" and space is not None:
        # Drawn without repeats (DistinctSampler) until the loop finds the space exhausted. Optuna's own would end a
        # process's search itself, while others still run trials and pruned ones are to be finished.
        return SeededSampler(_FACTORIES["random"], seed)
    if sampler == "qmc":
        return SeededSampler(lambda one: _qmc(seed, one), seed)
    if sampler == "tpe" and space is not None and any(parameter.when for parameter in space.searched.values()):
        # Ungrouped, a parameter that some trials lack is drawn alone, without regard to the others.
        return SeededSampler(lambda one: TPESampler(seed=one, multivariate=True, group=True), seed)
    return SeededSampler(_FACTORIES[sampler], seed)


def name_of(sampler_or_pruner: Any) -> str:
    """Return the name of a sampler or pruner, the class of an object."""
    if isinstance(sampler_or_pruner, str):
        return sampler_or_pruner
    return str(getattr(sampler_or_pruner, "__name__", type(sampler_or_pruner).__name__))


def _qmc(study_seed: int, own_seed: int) -> BaseSampler:
    """Return a sampler of the study's one sequence, in which low discrepancy lives as a whole.

    What the first trial lacked, a conditional hyperparameter for example, has no part in it and is drawn by the trial.
    """
    return QMCSampler(
        scramble=True,
        seed=study_seed % 2**32,
        independent_sampler=RandomSampler(seed=own_seed),
        warn_independent_sampling=False,
    )


def _cma_es(seed: int) -> BaseSampler:
    try:
        importlib.import_module("cmaes")  # Optuna asks for it later, where its absence would be a failed trial
    except ImportError:
        raise ConfigError("--sampler cma-es needs the package cmaes: pip install cmaes.") from None
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


_FACTORIES: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "cma-es": _cma_es,
    "grid": lambda seed: BruteForceSampler(seed=seed),
}

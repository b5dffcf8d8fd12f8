"""Samplers and pruners by name, and the wrapper that makes a stopped and resumed study propose the same trials.

A seeded Optuna sampler that lives as long as its process repeats itself after a restart. SeededSampler builds a
fresh one before each trial, from the study's seed and the trial's number.
"""

import importlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.config import nearest
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.batches import BatchPruner, BatchSampler
from hrnn_hpo.study.distinct import DistinctSampler

SAMPLERS = ("tpe", "random", "gp", "qmc", "cma-es", "grid")
PRUNERS = ("median", "hyperband", "none", "patient", "successive-halving")
# No trial is pruned before it has had this many epochs, nor before this many trials have ended.
WARMUP_EPOCHS = 2
STARTUP_TRIALS = 4
DETERMINISTIC = ("tpe", "random", "gp")  # qmc, cma-es and grid carry a state from trial to trial
SamplerLike = str | BaseSampler | Callable[[int], BaseSampler]
ETA = 3  # each rung of successive halving and Hyperband keeps one trial in three


class SeededSampler(BaseSampler):
    """Build `factory(seed)` before each trial, the seed drawn from the study's seed and the trial's number.

    Retries are left out of the count, and a retry takes its original's seed, so that a study whose trials were
    interrupted proposes what an undisturbed one does. `one_seed` keeps the study's seed for all trials: low
    discrepancy (QMC) lives in the sequence as a whole.
    """

    def __init__(self, factory: Callable[[int], BaseSampler], seed: int, *, one_seed: bool = False) -> None:
        self._factory = factory
        self._seed = seed
        self._one_seed = one_seed
        self._sampler = self._build(seed)

    def __str__(self) -> str:
        return f"SeededSampler({self._sampler})"

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if not self._one_seed:
            self._sampler = self._build(trial_seed(self._seed, ordinal(study, trial)))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _build(self, seed: int) -> BaseSampler:
        with experimental_allowed():
            return self._factory(seed)


class Hyperband(BasePruner):
    """Hyperband with the right number of brackets, over a sampler that sees the trials of all of them.

    Optuna takes a floating-point logarithm, which is one bracket short where max_epochs is a power of eta (243 and
    3); one epoch more mends it. And it hands a Hyperband study's sampler the trials of one bracket alone, which
    would keep TPE in its random start-up for most of a study of our size.
    """

    def __init__(self, max_epochs: int, eta: int = ETA) -> None:
        self.n_brackets = count_brackets(max_epochs, eta)
        short = math.floor(math.log(max_epochs, eta)) + 1 < self.n_brackets  # Optuna's own formula
        self._pruner = HyperbandPruner(min_resource=1, max_resource=max_epochs + short, reduction_factor=eta)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self._pruner.prune(study, trial)


def make_sampler(
    sampler: SamplerLike, seed: int, space: SearchSpace | None = None, *, deterministic: bool = False
) -> BaseSampler:
    """Return a sampler by name, from a factory that takes a seed, or the object as it is.

    Over a finite space, names and factories give one that repeats no configuration. Raises ConfigError for an unknown
    name, and for a grid over a space that has no finite one.
    """
    if deterministic and sampler not in DETERMINISTIC:
        raise ConfigError(
            f"--deterministic needs a sampler that depends on seed and earlier trials alone "
            f"({', '.join(DETERMINISTIC)}), but got {name_of(sampler)}."
        )
    if isinstance(sampler, BaseSampler):
        return sampler
    made = _make_sampler(sampler, seed, space)
    if deterministic:
        made = BatchSampler(made, ordinals)
    if space is None or sampler == "grid" or space.cardinality() is None:
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
    if sampler == "qmc":
        return SeededSampler(_qmc, seed, one_seed=True)
    if sampler == "tpe" and space is not None and any(parameter.when for parameter in space.searched.values()):
        # Ungrouped, a parameter that some trials lack is drawn alone, without regard to the others.
        return SeededSampler(lambda one: TPESampler(seed=one, multivariate=True, group=True), seed)
    return SeededSampler(_FACTORIES[sampler], seed)


def make_pruner(pruner: str | BasePruner, max_epochs: int, *, deterministic: bool = False) -> BasePruner:
    """Return a pruner by name for runs of at most `max_epochs`, or the object as it is.

    Raises ConfigError for an unknown name.
    """
    made = _make_pruner(pruner, max_epochs)
    return BatchPruner(made, ordinals) if deterministic else made


def _make_pruner(pruner: str | BasePruner, max_epochs: int) -> BasePruner:
    if isinstance(pruner, BasePruner):
        return pruner
    if pruner == "median":
        return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)
    if pruner == "hyperband":
        return Hyperband(max_epochs)
    if pruner == "successive-halving":
        return SuccessiveHalvingPruner(min_resource=WARMUP_EPOCHS, reduction_factor=ETA)
    if pruner == "patient":
        with experimental_allowed():  # prune by the median only what has stopped improving itself
            return PatientPruner(MedianPruner(STARTUP_TRIALS, WARMUP_EPOCHS), patience=WARMUP_EPOCHS)
    if pruner == "none":
        return NopPruner()
    raise ConfigError(
        f"--pruner must be one of {', '.join(PRUNERS)}, but got {pruner!r}{nearest(pruner, list(PRUNERS))}"
    )


def name_of(sampler_or_pruner: Any) -> str:
    """Return the name of a sampler or pruner, the class of an object."""
    if isinstance(sampler_or_pruner, str):
        return sampler_or_pruner
    return str(getattr(sampler_or_pruner, "__name__", type(sampler_or_pruner).__name__))


def ordinal(study: Study, trial: FrozenTrial) -> int:
    """Return a trial's number with retries left out of the count; a retry has its original's."""
    number = original_number(trial)
    return number - sum(
        other.number < number and original_number(other) != other.number for other in study.get_trials(deepcopy=False)
    )


def ordinals(trials: list[FrozenTrial]) -> dict[int, int]:
    """Return each trial's number with retries left out of the count."""
    originals = sorted({original_number(trial) for trial in trials})
    place = {number: index for index, number in enumerate(originals)}
    return {trial.number: place[original_number(trial)] for trial in trials}


def original_number(trial: FrozenTrial) -> int:
    """Return the number of the trial that this one retries, its own where it is no retry."""
    with experimental_allowed():
        retried = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if retried is None else retried


def trial_seed(study_seed: int, number: int, stream: int = 0) -> int:
    """Return a 32-bit seed for a trial: stream 0 draws its hyperparameters, stream 1 trains its model."""
    return int(np.random.SeedSequence([study_seed, number, stream]).generate_state(1)[0])


def count_brackets(max_epochs: int, eta: int) -> int:
    """Return floor(log_eta(max_epochs)) + 1 in whole numbers: 243 and 3 make 6."""
    n = 1
    while eta**n <= max_epochs:
        n += 1
    return n


@contextmanager
def experimental_allowed() -> Iterator[None]:
    """Silence Optuna's ExperimentalWarning: QMC, brute force, patience, heartbeats and retries are marked so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _qmc(seed: int) -> BaseSampler:
    return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


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

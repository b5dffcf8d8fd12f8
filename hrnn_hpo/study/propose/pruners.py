"""Pruners by name: which trials end before their last epoch. A new pruner is a name and a branch here."""

import math

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.config import nearest
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.propose.deterministic import BatchPruner
from hrnn_hpo.study.seeds import ordinals

PRUNERS = ("median", "hyperband", "none", "patient", "successive-halving")
# No trial is pruned before it has had this many epochs, nor before this many trials have ended.
WARMUP_EPOCHS = 2
STARTUP_TRIALS = 4
ETA = 3  # each rung of successive halving and Hyperband keeps one trial in three


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


def count_brackets(max_epochs: int, eta: int) -> int:
    """Return floor(log_eta(max_epochs)) + 1 in whole numbers: 243 and 3 make 6."""
    n = 1
    while eta**n <= max_epochs:
        n += 1
    return n

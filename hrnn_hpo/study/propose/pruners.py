"""Pruners by name: which trials end before their last epoch. A new pruner is a name and a branch here."""

import bisect
import itertools
import math
import zlib

from optuna.pruners import (
    BasePruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.settings import nearest
from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.propose.deterministic import BatchPruner
from hrnn_hpo.study.propose.paired import AgainstIncumbent, FiguresOf, Paired, Wilcoxon
from hrnn_hpo.study.propose.views import in_its_place, view_of

PRUNERS = ("median", "hyperband", "none", "paired", "patient", "successive-halving", "wilcoxon")
BY_USER = ("paired", "wilcoxon")  # that compare the figures of users
AFTER_EPOCHS = "epochs:"  # followed by a number
DEFAULT_KEEP = 5  # trials that `epochs:K` finishes
# No trial is pruned before it has had this many epochs, nor before this many trials have ended.
WARMUP_EPOCHS = 2
STARTUP_TRIALS = 4
ETA = 3  # each rung of successive halving and Hyperband keeps one trial in three


class Hyperband(BasePruner):
    """Hyperband (Li et al. 2018): successive halving in brackets that begin to compare at different epochs.

    Each trial belongs to a bracket by its place in the study, drawn with the brackets' shares of the budget. Optuna's
    own HyperbandPruner has one bracket too few for some lengths (243 and 3), reads the storage past `--deterministic`,
    moves a retried trial to another bracket, and shows a study's sampler the trials of one bracket alone.
    """

    def __init__(self, max_epochs: int, eta: int = ETA) -> None:
        self.n_brackets = count_brackets(max_epochs, eta)
        # Bracket s halves from epoch eta ** s on, and gets the share of the trials by which every bracket costs the
        # same (Algorithm 1 of the paper, which counts s from the other end).
        n = self.n_brackets
        self._shares = [math.ceil(n * eta ** (n - 1 - s) / (n - s)) for s in range(n)]
        self._halvings = [
            SuccessiveHalvingPruner(min_resource=1, reduction_factor=eta, min_early_stopping_rate=s) for s in range(n)
        ]

    def bracket(self, study: Study, place: int) -> int:
        """Return the bracket of the trial in a place, from 0."""
        drawn = zlib.crc32(f"{study.study_name}_{place}".encode()) % sum(self._shares)
        return bisect.bisect_right(list(itertools.accumulate(self._shares)), drawn)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        bracket = self.bracket(study, in_its_place(study, trial).number)
        own = view_of(study, lambda other: self.bracket(study, other.number) == bracket)
        return self._halvings[bracket].prune(own, trial)


class AfterEpochs(BasePruner):
    """End every trial after so many epochs; the search finishes the best of them at its end (run/continuing.py).

    Discarding after a constant number of epochs is "i-Epoch" of Egele et al. (2024), hard to beat by cleverer rules.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return trial.last_step is not None and trial.last_step + 1 >= self.n_epochs


class WithoutRetries(BasePruner):
    """A pruner that compares a trial with the last attempts of the others: one that was retried counts once."""

    def __init__(self, inner: BasePruner) -> None:
        self.inner = inner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self.inner.prune(view_of(study), trial)


def make_pruner(
    pruner: str | BasePruner, max_epochs: int, *, deterministic: bool = False, figures: FiguresOf | None = None
) -> BasePruner:
    """Return a pruner by name for runs of at most `max_epochs`, or the object as it is where it may see all trials.

    `figures` are the trials' by user, which those of BY_USER compare; without them they end nothing. Raises ConfigError
    for an unknown name.
    """
    if isinstance(pruner, BasePruner) and not deterministic:
        return pruner
    made = _make_pruner(pruner, max_epochs, figures)
    return BatchPruner(made) if deterministic else WithoutRetries(made)


def _make_pruner(pruner: str | BasePruner, max_epochs: int, figures: FiguresOf | None) -> BasePruner:
    if isinstance(pruner, BasePruner):
        return pruner
    if pruner in BY_USER:
        compared = AgainstIncumbent(figures or (lambda place, epoch: None), WARMUP_EPOCHS)
        return Paired(compared, max_epochs) if pruner == "paired" else Wilcoxon(compared)
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
    n_epochs = epochs_before_pruning(pruner)
    if n_epochs is not None:
        return AfterEpochs(n_epochs)
    raise ConfigError(
        f"--pruner must be one of {', '.join(PRUNERS)} or {AFTER_EPOCHS}K with a whole number K > 0, but got "
        f"{pruner!r}{nearest(pruner, list(PRUNERS))}"
    )


def epochs_before_pruning(pruner: str) -> int | None:
    """Return K of the pruner `epochs:K`, None for any other text."""
    number = pruner.removeprefix(AFTER_EPOCHS)
    if number == pruner or not (number.isascii() and number.isdigit()) or int(number) == 0:
        return None
    return int(number)


def is_pruner(name: str) -> bool:
    """Return whether there is a pruner of this name."""
    return name in PRUNERS or epochs_before_pruning(name) is not None


def count_brackets(max_epochs: int, eta: int) -> int:
    """Return floor(log_eta(max_epochs)) + 1 in whole numbers: 243 and 3 make 6."""
    n = 1
    while eta**n <= max_epochs:
        n += 1
    return n

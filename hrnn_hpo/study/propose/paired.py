"""Pruners that compare a trial with the incumbent user by user, where means over users cannot tell.

A mean over some hundred users has a standard error larger than what separates good configurations. But both trials
are scored on the same users, and most of that error is common to them: the differences tell what the means cannot.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from hrnn_hpo.study.optuna_quiet import experimental_allowed, optuna_quiet
from hrnn_hpo.study.propose.views import in_its_place
from hrnn_hpo.study.trials import best_trials

BUDGET = 0.1  # the chance of ending a trial that is as good as the incumbent, over all its epochs
LEVEL = 0.1  # of each look of `Wilcoxon`, Optuna's own
LEAST_USERS = 8  # fewer make no test
FiguresOf = Callable[[int, int], NDArray[np.float64] | None]  # a trial's place and an epoch from 1 -> (R,) by user


@dataclass(frozen=True)
class AgainstIncumbent:
    """What finds a trial's figures and those of the best complete trial after the same epoch, on the same users."""

    figures: FiguresOf
    warmup: int  # epochs before the first comparison

    def __call__(self, study: Study, trial: FrozenTrial) -> tuple[NDArray[np.float64], NDArray[np.float64], int] | None:
        """Return the incumbent's figures and the trial's, (R,) each, and how many trials are complete.

        None where nothing can be compared: too early, no incumbent, no figures, or those of other users.
        """
        epoch = 0 if trial.last_step is None else trial.last_step + 1
        if epoch <= self.warmup:
            return None
        complete = best_trials(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if not complete:
            return None
        theirs = self.figures(complete[0].number, epoch)
        ours = self.figures(in_its_place(study, trial).number, epoch)
        if theirs is None or ours is None or theirs.shape != ours.shape:
            return None
        known = ~np.isnan(theirs) & ~np.isnan(ours)
        return theirs[known], ours[known], len(complete)


class Paired(BasePruner):
    """End a trial that is worse than the incumbent on the same users after the same epoch, as a test says.

    The incumbent is the best complete trial. Each epoch after the warm-up is a look: a one-sided t-test of the users'
    differences at the level `budget` / (looks x complete trials). By Bonferroni's inequality all looks together end a
    trial that scores as well as each complete one after each epoch, but for the draw of users, with a probability of
    at most `budget`, however looks and trials depend on each other. The number of complete trials stands there since
    the best of them is partly the luckiest.
    """

    def __init__(self, compared: AgainstIncumbent, max_epochs: int, budget: float = BUDGET) -> None:
        self._compared = compared
        self._level = budget / max(max_epochs - 1 - compared.warmup, 1)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        found = self._compared(study, trial)
        if found is None:
            return False
        theirs, ours, n_complete = found
        return chance_of_a_lead(theirs - ours) <= self._level / n_complete


class Wilcoxon(BasePruner):
    """Optuna's WilcoxonPruner with users as its instances: its signed-rank test at 10 %, anew after every epoch.

    Nothing is corrected for looks, nor for the luck of the incumbent: it ends more good trials than `Paired`, and
    spends fewer epochs.
    """

    def __init__(self, compared: AgainstIncumbent) -> None:
        self._compared = compared
        with experimental_allowed():
            self._inner = WilcoxonPruner(p_threshold=LEVEL)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        found = self._compared(study, trial)
        if found is None or len(found[0]) < LEAST_USERS:
            return False
        theirs, ours, _ = found
        with optuna_quiet():
            pair = optuna.create_study(direction="maximize", pruner=self._inner)
        best = create_trial(value=float(theirs.mean()), intermediate_values=dict(enumerate(theirs.tolist())))
        pair.add_trial(best)
        return self._inner.prune(
            pair, create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(ours.tolist())))
        )


def chance_of_a_lead(leads: NDArray[np.float64]) -> float:
    """Return the one-sided p-value of a positive mean of differences by user, (R,): Student's t; 1 of few users.

    Users without a figure count nowhere. Differences that are all the same have no error: 0 where they are positive.
    """
    from scipy.stats import t

    known = leads[~np.isnan(leads)]
    if len(known) < LEAST_USERS:
        return 1.0
    mean, error = float(known.mean()), float(known.std(ddof=1)) / math.sqrt(len(known))
    if error == 0.0:
        return 0.0 if mean > 0.0 else 1.0
    return float(t.sf(mean / error, len(known) - 1))

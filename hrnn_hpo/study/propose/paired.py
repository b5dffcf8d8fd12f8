"""A pruner that compares a trial with the incumbent user by user, and rarely ends one that is as good.

A mean over some hundred users has a standard error larger than what separates good configurations. But both trials
are scored on the same users, and most of that error is common to them: the differences tell what the means cannot.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.propose.views import in_its_place
from hrnn_hpo.study.trials import best_trials

BUDGET = 0.1  # the chance of ending a trial that is as good as the incumbent, over all its epochs
LEAST_USERS = 8  # fewer make no test
FiguresOf = Callable[[int, int], NDArray[np.float64] | None]  # a trial's place and an epoch from 1 -> (R,) by user


class Paired(BasePruner):
    """End a trial that is worse than the incumbent on the same users after the same epoch, as a test says.

    The incumbent is the best complete trial. Each epoch after the warm-up is a look: a one-sided t-test of the users'
    differences at the level `budget` / (looks x complete trials). By Bonferroni's inequality all looks together end a
    trial that scores as well as each complete one after each epoch, but for the draw of users, with a probability of
    at most `budget`, however looks and trials depend on each other. The number of complete trials stands there since
    the best of them is partly the luckiest.
    """

    def __init__(self, figures: FiguresOf, max_epochs: int, warmup: int, budget: float = BUDGET) -> None:
        self._figures = figures
        self._warmup = warmup
        self._level = budget / max(max_epochs - 1 - warmup, 1)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        epoch = 0 if trial.last_step is None else trial.last_step + 1
        if epoch <= self._warmup:
            return False
        place = in_its_place(study, trial).number
        complete = best_trials(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if not complete:
            return False
        theirs, ours = self._figures(complete[0].number, epoch), self._figures(place, epoch)
        if theirs is None or ours is None or theirs.shape != ours.shape:
            return False
        return chance_of_a_lead(theirs - ours) <= self._level / len(complete)


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

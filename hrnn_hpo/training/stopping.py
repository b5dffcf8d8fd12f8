"""When a run is over: `patience` epochs without a better score, with allowance for noise and for a model yet to learn.

What the scores are, and which figure is the least to pass, is the caller's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.training.progress import EpochReport, TrainingState

FALLING_EPOCHS = 3  # the training loss still falls while its lowest value is no older


@dataclass(frozen=True)
class Validation:
    """What an evaluation found: the metrics, and the objective of each validation user where it is a mean of such."""

    metrics: Mapping[str, float]
    per_user: NDArray[np.float64] | None = None  # (R,), the same users in the same order each time
    keep: Callable[[int], None] = lambda epoch: None  # called with the epoch before its checkpoint is written


def wait_of(per_user: NDArray[np.float64] | None, best: NDArray[np.float64] | None) -> float:
    """Return what an epoch without a gain adds to the wait: 1, or 1/2 where it may be as good as the best one.

    That is where the mean of the users' differences to the best epoch, all (R,), is less than its standard error below
    0: few users cannot tell such epochs apart. So the wait is at most twice as long, and with many users hardly longer.
    Where no user's figure has moved there is no noise to allow for, and the wait is 1.
    """
    if per_user is None or best is None or len(per_user) < 2:
        return 1.0
    losses = best - per_user
    standard_error = float(losses.std(ddof=1)) / math.sqrt(len(losses))
    return 0.5 if float(losses.mean()) < standard_error else 1.0


def is_over(state: TrainingState, patience: int, floor: float) -> bool:
    """Return whether early stopping ends the run here.

    A model whose best score is not above `floor` goes on while its training loss falls: it has not begun to learn yet.
    """
    if state.epochs_without_gain < patience:
        return False
    return state.best_value > floor or not loss_falls(state.history)


def loss_falls(history: Sequence[EpochReport]) -> bool:
    """Return whether one of the last epochs has the lowest training loss so far."""
    losses = [report.train_loss for report in history]
    return min(losses[-FALLING_EPOCHS:]) <= min(losses)

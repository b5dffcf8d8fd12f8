"""Where a run stands: what each epoch brought, and what the next one needs to know."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class EpochReport:
    """What one epoch brought; `metrics` are the validation metrics under their plain names, empty without one."""

    epoch: int  # counts from 1
    train_loss: float  # mean weighted cross-entropy per target, nats
    metrics: dict[str, float]
    seconds: float  # training alone
    validation_seconds: float
    targets_per_second: float
    is_best: bool


@dataclass
class TrainingState:
    """Where a run stands between two epochs, weights and optimizer aside."""

    epoch: int = 0  # epochs done
    update: int = 0  # optimizer steps done
    best_epoch: int = 0
    best_value: float = -math.inf
    best_per_user: NDArray[np.float64] | None = None  # (R,) the objective of each validation user in the best epoch
    epochs_without_gain: float = 0.0  # one that may be as good as the best counts half
    history: list[EpochReport] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

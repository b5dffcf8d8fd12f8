"""Where a run stands: what each epoch brought, and what the next one, or the rest of a begun one, needs to know."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class BegunEpoch:
    """What the updates of an epoch leave to the next ones, weights and optimizer aside.

    The order of the users is drawn again from seed and epoch; what was drawn since then is behind the random states.
    """

    n_windows: int  # updates done in the epoch
    n_targets: int
    seconds: float  # of training
    lanes: Tensor  # (n_blocks, B, S) the states that the lanes carry
    loss: Tensor  # scalar, the sum over the targets so far
    generator: Mapping[str, Any]  # NumPy's: negatives
    random_states: dict[str, Tensor]  # PyTorch's, by the type of device: dropout


@dataclass
class TrainingState:
    """Where a run stands between two epochs or, with `begun`, inside one, weights and optimizer aside."""

    epoch: int = 0  # epochs done; while one runs, that one too
    update: int = 0  # optimizer steps done
    best_epoch: int = 0
    best_value: float = -math.inf
    best_per_user: NDArray[np.float64] | None = None  # (R,) the objective of each validation user in the best epoch
    epochs_without_gain: float = 0.0  # one that may be as good as the best counts half
    history: list[EpochReport] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    begun: BegunEpoch | None = None  # of epoch `epoch` + 1

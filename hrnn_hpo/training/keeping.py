"""When a run's checkpoint is written, and what of a begun epoch goes into it. What the file looks like is checkpoint's.

An epoch can take hours: it is kept every ten minutes, so that a process that dies loses no more than these.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hrnn_hpo.errors import ModelError, RunFailedError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training.averaging import AveragedWeights
from hrnn_hpo.training.batches import Window
from hrnn_hpo.training.checkpoint import load_checkpoint, save_checkpoint
from hrnn_hpo.training.optimizer import Optimizer
from hrnn_hpo.training.progress import BegunEpoch, TrainingState

SECONDS_BETWEEN_CHECKPOINTS = 600.0
_log = logging.getLogger(__name__)


class Keeper:
    """The checkpoint file of one run: written after each epoch, and in an epoch once so many seconds have passed.

    Without a path nothing is kept. A write that a full disk refuses is a warning, and the older file stays: it costs
    work only if the process dies as well.
    """

    def __init__(
        self, path: Path | None, seconds: float, model: HRNN, optimizer: Optimizer, averaged: AveragedWeights
    ) -> None:
        self.path = path
        self.seconds = seconds
        self.parts = (model, optimizer, averaged)
        self.written = time.monotonic()

    def resume(self) -> TrainingState:
        """Return where the run stands, with model, optimizer and averages as they were then; a new state for a new run.

        Raises ModelError as load_checkpoint does.
        """
        if self.path is None or not self.path.exists():
            return TrainingState()
        return load_checkpoint(self.path, *self.parts)

    @property
    def is_due(self) -> bool:
        """Whether a begun epoch is worth keeping now."""
        return self.path is not None and time.monotonic() - self.written >= self.seconds

    def keep(self, state: TrainingState, begun: BegunEpoch | None = None) -> None:
        """Write the state after an epoch, or inside the one that has begun and is not among those done."""
        if self.path is None:
            return
        if begun is not None:
            state = replace(state, epoch=state.epoch - 1, begun=begun)
        try:
            save_checkpoint(self.path, state, *self.parts)
        except RunFailedError as error:
            _log.warning("%s The run goes on without.", error)
        self.written = time.monotonic()

    def go_on(
        self, begun: BegunEpoch, windows: Iterator[Window], rng: np.random.Generator, lanes: Tensor, total_loss: Tensor
    ) -> None:
        """Pass over the windows that were learned from; leave lanes, loss and generators as they were after them.

        Raises ModelError where the begun epoch is not one of this data and batch size.
        """
        try:
            for _ in range(begun.n_windows):
                next(windows)
            lanes.copy_(begun.lanes.view(lanes.shape))
            total_loss.copy_(begun.loss)
            rng.bit_generator.state = begun.generator
            _set_random_states(begun.random_states)
        except (StopIteration, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.path}: the epoch that it is in is not one of this run ({type(error).__name__}: {error})."
            ) from error


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of PyTorch's generators of the CPU and of the device, by its type."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():  # a run may go on elsewhere, with other draws of dropout
        torch.cuda.set_rng_state(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])

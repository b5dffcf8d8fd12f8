"""A run's resumable state in one file: safetensors with JSON beside them in the header. Loading runs no pickled code.

The file is replaced whole or not at all, so a process may die at any moment.
"""

import contextlib
import glob
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hrnn_hpo.errors import ModelError, RunFailedError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.processes import is_gone
from hrnn_hpo.training.averaging import AveragedWeights
from hrnn_hpo.training.optimizer import Optimizer
from hrnn_hpo.training.progress import BegunEpoch, EpochReport, TrainingState

BEGUN_FIGURES = ("n_windows", "n_targets", "seconds", "generator")


def save_checkpoint(
    path: Path, state: TrainingState, model: HRNN, optimizer: Optimizer, averaged: AveragedWeights
) -> None:
    """Write everything that a run needs to go on after the epoch, or the update of a begun one, that it has just done.

    Raises RunFailedError where the disk is full or the folder cannot be written; an older checkpoint stays as it is.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best_weights.items()}
    tensors |= {f"averaged.{i}": value for i, value in enumerate(averaged.values)}
    tensors |= {f"optimizer.{name}": value for name, value in optimizer.state_tensors().items()}
    if state.best_per_user is not None:
        tensors["best_per_user"] = torch.from_numpy(state.best_per_user)
    progress: dict[str, Any] = {
        "epoch": state.epoch,
        "update": state.update,
        "best_epoch": state.best_epoch,
        "best_value": state.best_value,
        "epochs_without_gain": state.epochs_without_gain,
        "history": [asdict(report) for report in state.history],
        "n_averaged": averaged.n_updates,
    }
    if state.begun is not None:
        begun = state.begun
        tensors |= {"begun.lanes": begun.lanes, "begun.loss": begun.loss}
        tensors |= {f"random.{name}": value for name, value in begun.random_states.items()}
        progress["begun"] = {name: getattr(begun, name) for name in BEGUN_FIGURES}
    partial = path.with_suffix(f".partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        save_file(contiguous, partial, {"state": json.dumps(progress)})
        partial.replace(path)
        _remove_partials(path.parent, glob.escape(path.stem))
    except (OSError, SafetensorError) as error:
        raise RunFailedError(f"{path}: the checkpoint cannot be written ({error}).") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_checkpoints(folder: Path, stem: str) -> None:
    """Remove the checkpoints `STEM.checkpoint`, a pattern, and what processes that are gone have left of such."""
    for file in folder.glob(f"{stem}.checkpoint"):
        file.unlink(missing_ok=True)
    _remove_partials(folder, stem)


def _remove_partials(folder: Path, stem: str) -> None:
    """Remove half-written checkpoints of processes that are gone: each may be as large as the model, three times."""
    for file in folder.glob(f"{stem}.partial-*"):
        pid = file.suffix.removeprefix(".partial-")
        if pid.isdecimal() and is_gone(int(pid)):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def load_checkpoint(path: Path, model: HRNN, optimizer: Optimizer, averaged: AveragedWeights) -> TrainingState:
    """Restore model, optimizer and averages from a checkpoint and return where the run stands.

    Raises ModelError when the file is damaged or belongs to a model of another shape.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress: dict[str, Any] = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        model.load_state_dict(_under("model.", tensors))
        optimizer.load_state_tensors(_under("optimizer.", tensors))
        for index, value in enumerate(averaged.values):
            value.copy_(tensors[f"averaged.{index}"])
        averaged.n_updates = progress.pop("n_averaged")
        history = [EpochReport(**report) for report in progress.pop("history")]
        per_user = tensors.get("best_per_user")
        figures = progress.pop("begun", None)  # only where an epoch had begun
        begun = None
        if figures is not None:
            random_states = _under("random.", tensors)
            begun = BegunEpoch(
                **figures, lanes=tensors["begun.lanes"], loss=tensors["begun.loss"], random_states=random_states
            )
        return TrainingState(
            **progress,
            history=history,
            best_weights=_under("best.", tensors),
            best_per_user=None if per_user is None else per_user.numpy(),
            begun=begun,
        )
    except Exception as error:
        raise ModelError(f"{path}: is not a checkpoint of this configuration ({error}).") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

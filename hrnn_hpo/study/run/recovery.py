"""Trials whose worker is gone: noticed, marked FAIL, and queued again to go on from their last checkpoint.

On this machine a missing process is noticed at once; elsewhere Optuna's heartbeats tell after a grace period.
"""

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.processes import is_gone
from hrnn_hpo.study.attributes import CONFIRMS, WORKER
from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.record import KEY
from hrnn_hpo.study.storage.stale_trials import retry_lost_trials

UNCLAIMED_SECONDS = 60  # from a trial's creation to its worker's name lies the sampler's work alone


def this_worker() -> dict[str, Any]:
    """Return who this process is, for other processes of the same machine to look up."""
    return {"machine": _machine(), "pid": os.getpid()}


def is_dead(worker: dict[str, Any] | None) -> bool:
    """Return whether a worker is known to be gone: a process of this machine that no longer runs."""
    return worker is not None and worker["machine"] == _machine() and is_gone(worker["pid"])


class Recovery:
    """Looks for running trials without a worker. Holds a study of its own, so that a thread may call it."""

    def __init__(self, name: str, storage: BaseStorage) -> None:
        # A sampler of its own: telling a trial's end calls the sampler, which may want to stop the study.
        self._study = optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler())
        self._unclaimed: dict[int, float] = {}  # trial -> when it was first seen running without a worker's name

    def run(self) -> None:
        """Fail and requeue what has lost its worker; where another process does the same, one of the two wins."""
        with experimental_allowed():
            fail_stale_trials(self._study)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._lost(trial):
                with contextlib.suppress(ValueError, OptunaError):  # it has ended meanwhile
                    self._study.tell(trial.number, state=TrialState.FAIL)
        retry_lost_trials(self._study)

    def _lost(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if worker is not None:
            return is_dead(worker)
        # Killed between Optuna's creating the trial and its first heartbeat: no clock of another machine is asked.
        first_seen = self._unclaimed.setdefault(trial.number, time.monotonic())
        return time.monotonic() - first_seen > UNCLAIMED_SECONDS


def recover(study: Study, storage: BaseStorage) -> None:
    """Fail and requeue what has lost its worker in a study of ours; those of other software stay as they are.

    Theirs have no worker's name and no traceback in their trials: each one that failed would look like a lost one.
    """
    if KEY in study.user_attrs or CONFIRMS in study.user_attrs:
        Recovery(study.study_name, storage).run()


def _machine() -> str:
    """Return a name for the place where process ids mean the same: host, boot and pid namespace."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)

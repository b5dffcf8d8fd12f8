"""`tune --workers W`: W processes that run trials of one study side by side, started, watched and replaced here.

They share nothing but the study's storage and, through mmap, the prepared data. On a Ray cluster
ray_team.py starts them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.experiment import Device, available_cores
from hrnn_hpo.stores import study_folder
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.control import STOP_KEY, Control, count_trials
from hrnn_hpo.study.limits import limit_reached
from hrnn_hpo.study.objective import Observer
from hrnn_hpo.study.objectives import leading
from hrnn_hpo.study.recovery import Recovery
from hrnn_hpo.study.setup import Budget, Plan
from hrnn_hpo.training.progress import EpochReport

Launcher = Literal["local", "ray"]
POLL_SECONDS = 1.0
# A worker that dies is replaced; so many deaths without a finished trial in between end the study.
MAX_DEATHS_IN_A_ROW = 10


@dataclass(frozen=True)
class Addresses:
    """What a worker is told besides the study's name."""

    data: Path
    storage: str
    tracking_uri: str
    device: Device
    n_threads: int | None = None


class Team(Protocol):
    """The worker processes of one command, each in a seat that is filled again when its process dies."""

    def start(self, study: str) -> None:
        """Fill the empty seats with workers of a study."""

    def running(self) -> bool:
        """Return whether anyone is at work."""

    def collect(self) -> list[str]:
        """Empty the seats of those who have ended; return how the ones ended that were killed.

        Raises RunFailedError for a worker that reported a failed study.
        """

    def stop(self) -> None:
        """Ask the workers to stop after their epoch, and wait; kill them when this process is interrupted again."""

    def last_words(self) -> str:
        """Return what the worker that died last had to say."""

    def close(self) -> None:
        """Let go of what the team was started on."""


def make_team(
    launcher: Launcher,
    addresses: Addresses,
    n_workers: int | None,
    budget: Budget,
    gpus_per_trial: float | None,
    ray_address: str | None,
) -> Team:
    """Return the team of a launcher. Raises ConfigError for options of the other one, and what RayTeam raises."""
    if launcher == "ray":
        from hrnn_hpo.study.ray_team import RayTeam

        size = n_workers or (budget.n_workers if budget.n_workers > 1 else None)
        return RayTeam(addresses, size=size, gpus_per_trial=gpus_per_trial, address=ray_address)
    return LocalTeam(budget.n_workers, addresses)


def require_names(plan: Plan, extra_metrics: Mapping[str, Any] | None, callbacks: Sequence[Any]) -> None:
    """Raise ConfigError for what only one process can have: objects and functions handed to `tune`."""
    objects = [
        name
        for name, found in (
            ("sampler", not isinstance(plan.sampler, str)),
            ("pruner", not isinstance(plan.pruner, str)),
            ("extra_metrics", bool(extra_metrics)),
            ("callbacks", bool(callbacks)),
        )
        if found
    ]
    if objects:
        raise ConfigError(
            f"Worker processes know samplers and pruners by name; with n_workers > 1, leave out {objects}."
        )


def run_workers(
    study: Study, storage: RDBStorage, budget: Budget, control: Control, team: Team, observer: Observer
) -> str:
    """Keep the team's seats filled until the budget is used up or `control` says stop; return why it ended.

    Raises RunFailedError with a worker's own words when it gives up, or when workers keep dying.
    """
    recovery, watcher = Recovery(study.study_name, storage), _Watcher(observer)
    recovery.run()
    deaths, n_done = 0, -1
    try:
        team.start(study.study_name)
        while team.running():
            time.sleep(POLL_SECONDS)
            trials = study.get_trials(deepcopy=False)
            watcher.look(trials)
            if control.reason is not None or study.user_attrs.get(STOP_KEY):
                control.look_for_request(study)
                break
            counts = count_trials(trials)
            dead = team.collect()
            if dead:
                deaths = 1 if counts.done > n_done else deaths + len(dead)
                n_done = counts.done
                recovery.run()
                if deaths >= MAX_DEATHS_IN_A_ROW:
                    raise RunFailedError(f"Worker processes keep dying ({dead[-1]}). Last words:\n{team.last_words()}")
                if (budget.n_trials is None or counts.done < budget.n_trials) and not limit_reached(study):
                    team.start(study.study_name)
    finally:
        try:
            team.stop()
        finally:
            recovery.run()
        watcher.look(study.get_trials(deepcopy=False))
    return control.reason or limit_reached(study) or "all trials are done"


@dataclass
class LocalTeam:
    """Processes of this machine. What the methods promise is written at Team."""

    size: int
    addresses: Addresses
    study: str = ""
    members: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)  # by seat

    def start(self, study: str) -> None:
        self.study = study
        gpus = visible_gpus() if self.addresses.device in ("auto", "cuda") else []
        for seat in range(self.size):
            if seat not in self.members:
                self.members[seat] = self._spawn(seat, gpu_of_seat(seat, gpus))

    def running(self) -> bool:
        return bool(self.members)

    def collect(self) -> list[str]:
        dead = []
        for seat, process in list(self.members.items()):
            code = process.poll()
            if code is None:
                continue
            del self.members[seat]
            if code > 0:
                raise RunFailedError(self.last_words(seat))
            if code < 0:
                dead.append(f"signal {-code}")
        return dead

    def stop(self) -> None:
        for process in self.members.values():
            if process.poll() is None:
                process.terminate()
        try:
            for process in self.members.values():
                process.wait()
        except BaseException:
            for process in self.members.values():
                process.kill()
            raise
        self.members.clear()

    def last_words(self, seat: int | None = None) -> str:
        logs = sorted(study_folder(self.study).glob("worker-*.log"), key=lambda path: path.stat().st_mtime)
        path = self._log(seat) if seat is not None else logs[-1]
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
        return "\n".join(lines[errors[-1] :] if errors else lines[-15:]).removeprefix("error: ")

    def close(self) -> None:
        """Nothing is held between two studies."""

    def _spawn(self, seat: int, gpu: str | None) -> "subprocess.Popen[bytes]":
        where = self.addresses
        n_threads = where.n_threads or max(1, available_cores() // self.size)
        command = [sys.executable, "-m", "hrnn_hpo.cli.main", "worker", self.study]
        command += ["--data", str(where.data), "--device", where.device]
        command += ["--threads", str(n_threads), "--parent", str(os.getpid())]
        # Addresses may hold passwords: every user of a machine sees command lines, nobody else's environment.
        environment = {**os.environ, "HRNN_HPO_STORAGE": where.storage, "MLFLOW_TRACKING_URI": where.tracking_uri}
        environment["OMP_NUM_THREADS"] = str(n_threads)
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._log(seat).parent.mkdir(parents=True, exist_ok=True)
        with self._log(seat).open("wb") as log:
            # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def _log(self, seat: int) -> Path:
        return study_folder(self.study) / f"worker-{seat + 1}.log"


class _Watcher:
    """Tells an observer what other processes do, as the storage shows it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._epochs: dict[int, int] = {}
        self._ended: set[int] = set()
        self._first = True

    def look(self, trials: list[FrozenTrial]) -> None:
        for trial in trials:
            number = trial.number
            if trial.state == TrialState.WAITING or number in self._ended:
                continue
            if self._first and trial.state.is_finished():
                self._ended.add(number)  # of an earlier command
                continue
            if number not in self._epochs:
                self._epochs[number] = 0
                self._observer.trial_started(number, trial.params)
            for epoch, figures in epochs_of(trial).items():
                if epoch > self._epochs[number]:
                    self._epochs[number] = epoch
                    known = {name: figures[name] for name in figures if name != "time"}
                    self._observer.epoch_ended(number, EpochReport(epoch=epoch, is_best=False, **known))
            if trial.state.is_finished():
                self._ended.add(number)
                self._observer.trial_ended(leading(trial))
        self._first = False


def gpu_of_seat(seat: int, gpus: Sequence[str]) -> str | None:
    """Return the GPU of a worker: one each while there are enough, shared as evenly as can be otherwise.

    >>> [gpu_of_seat(seat, ["0", "1"]) for seat in range(5)]
    ['0', '1', '0', '1', '0']
    """
    return gpus[seat % len(gpus)] if gpus else None


def visible_gpus() -> list[str]:
    """Return the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    return gpu_names(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def gpu_names(n_gpus: int, visible: str | None) -> list[str]:
    """Return the names of `n_gpus` devices: those that CUDA_VISIBLE_DEVICES leaves visible, counted from 0 without it.

    >>> gpu_names(2, None), gpu_names(2, "4,7"), gpu_names(0, "")
    (['0', '1'], ['4', '7'], [])
    """
    if visible is None:
        return [str(number) for number in range(n_gpus)]
    return [name.strip() for name in visible.split(",")][:n_gpus]

"""Worker processes of this machine: started, asked to stop, and what the one that died last had to say."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.study import Study

from hrnn_hpo.cores import default_threads
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.study.folders import study_folder
from hrnn_hpo.study.team.team import Addresses


@dataclass
class LocalTeam:
    """Processes of this machine. What the methods promise is written at Team."""

    size: int
    addresses: Addresses
    study: str = ""
    folder: Path = Path()  # of the study: the workers' logs
    members: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)  # by seat

    def start(self, study: Study) -> None:
        self.study, self.folder = study.study_name, study_folder(study)
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
        logs = sorted(self.folder.glob("worker-*.log"), key=lambda path: path.stat().st_mtime)
        path = self._log(seat) if seat is not None else logs[-1]
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
        return "\n".join(lines[errors[-1] :] if errors else lines[-15:]).removeprefix("error: ")

    def close(self) -> None:
        """Nothing is held between two studies."""

    def _spawn(self, seat: int, gpu: str | None) -> "subprocess.Popen[bytes]":
        where = self.addresses
        n_threads = where.n_threads or default_threads(self.size)
        command = [sys.executable, "-m", "hrnn_hpo.cli.main", "worker"]
        command += ["--data", str(where.data), "--device", where.device]
        command += ["--threads", str(n_threads), "--parent", str(os.getpid())]
        command += ["--", self.study]  # which may begin with a dash
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
        return self.folder / f"worker-{seat + 1}.log"


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

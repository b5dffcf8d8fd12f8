"""CPU cores: how many this process may use, and what OpenMP is told before PyTorch loads it.

GNU's OpenMP, which PyTorch's builds for Linux carry, lets threads spin for long where they wait for each other. On
cores with other work the one that is waited for cannot run meanwhile, and two threads may train slower than one.
Threads that sleep at once lose more to falling asleep and waking up than the work takes. Those that spin for a tenth
of GNU's turns, then sleep, do well on busy and on quiet cores (scripts/benchmarks/speed/busy_cores.py). The number of
threads is not made to follow the load (OMP_DYNAMIC): figures depend on it.
"""

import logging
import math
import os
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path, PurePosixPath

_log = logging.getLogger(__name__)

SPINNING = "GOMP_SPINCOUNT"
TURNS = "30000"  # of the loop in which a thread waits before it sleeps; GNU's own default is 300,000
# Who sets one of these has decided how threads wait.
DECIDES_WAITING = (SPINNING, "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY")
THREADS = "OMP_NUM_THREADS"
THREAD_LIMITS = (THREADS, "OMP_THREAD_LIMIT")

_came_too_late = False  # PyTorch was there before us


def prepare_openmp(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have OpenMP's threads sleep soon where they wait, and keep to a cgroup's quota, unless told otherwise.

    Called once, by the package itself. OpenMP reads its environment when PyTorch loads it: where that has happened
    nothing is changed, and `use_threads` says so.
    """
    global _came_too_late
    _came_too_late = "torch" in sys.modules and not _waiting_is_decided(environment)
    if "torch" in sys.modules:
        return
    if not _waiting_is_decided(environment):
        environment[SPINNING] = TURNS
    if THREADS not in environment and available_cores() < _cores_of_affinity():
        environment[THREADS] = str(available_cores())


def use_threads(n_threads: int) -> None:
    """Let PyTorch compute on so many threads; say once where they spin, since PyTorch was loaded before us."""
    global _came_too_late
    import torch

    torch.set_num_threads(n_threads)
    if _came_too_late and n_threads > 1:
        _came_too_late = False
        _log.warning(
            "PyTorch was loaded before hrnn_hpo, so its threads spin while they wait: very slow on cores with other "
            "work. Import hrnn_hpo first, or set %s=%s in the environment.",
            SPINNING,
            TURNS,
        )


def default_threads(n_processes: int = 1) -> int:
    """Return the threads of each of some processes that share the cores: what OMP_NUM_THREADS says, or fewer."""
    limits = [_leading_number(os.environ.get(name, "")) for name in THREAD_LIMITS]
    return max(1, min([available_cores() // n_processes, *(limit for limit in limits if limit is not None)]))


def available_cores() -> int:
    """Return the number of cores that this process may use, by affinity and by cgroup quotas; 1 at least."""
    return max(1, math.floor(min(_cores_of_affinity(), quota_cores())))


def quota_cores(process: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the cores that the CPU quotas of this process's cgroups come to, infinity without any.

    Versions 1 and 2; every folder above the process's own may set a quota too. Inside a container the path that
    the kernel tells may not be there: the quota is then at the top.
    """
    quotas = [math.inf]
    for line in _read(process).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        quota_in: Callable[[Path], float]
        if not controllers:  # version 2
            top, quota_in = mounts, _quota_of_version_2
        elif "cpu" in controllers.split(","):
            top, quota_in = mounts / controllers, _quota_of_version_1
            top = top if top.is_dir() else mounts / "cpu"
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        quotas += [quota_in(top / folder) for folder in (own, *own.parents)]
    return min(quotas)


def _quota_of_version_2(folder: Path) -> float:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_of_version_1(folder: Path) -> float:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float:
    """Return quota / period in cores; infinity for `max`, -1, and files that are not there."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return cores if cores > 0 else math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _leading_number(text: str) -> int | None:
    """Return the first number of a list such as OMP_NUM_THREADS="4,2"; None for anything that is no count."""
    first = text.split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def _waiting_is_decided(environment: MutableMapping[str, str]) -> bool:
    return any(name in environment for name in DECIDES_WAITING)


def _cores_of_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

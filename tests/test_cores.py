"""How many threads are right by default, and what OpenMP hears before PyTorch loads it."""

import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hrnn_hpo import cores
from hrnn_hpo.cores import available_cores, default_threads, prepare_openmp, quota_cores, use_threads


def cgroups(folder: Path, membership: str, files: dict[str, str]) -> float:
    """Return the quota that a process of this membership finds in these files."""
    (folder / "cgroup").write_text(membership)
    for name, text in files.items():
        path = folder / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return quota_cores(folder / "cgroup", folder / "fs")


# cgroups


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),  # a container of its own: the kernel tells "/"
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({}, math.inf),
        ({"cpu.max": "nonsense\n"}, math.inf),
        ({"cpu.max": "100000 0\n"}, math.inf),
    ],
)
def test_version_2_has_quota_and_period_in_one_file(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    assert cgroups(tmp_path, "0::/\n", files) == cores


def test_the_tightest_quota_above_a_process_counts(tmp_path: Path) -> None:
    files = {"jobs/mine/cpu.max": "max 100000", "jobs/cpu.max": "250000 100000", "other/cpu.max": "100000 100000"}
    assert cgroups(tmp_path, "0::/jobs/mine\n", files) == 2.5


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1_has_a_file_each(tmp_path: Path, mount: str) -> None:
    membership = "5:memory:/docker/12ab\n4:cpu,cpuacct:/docker/12ab\n0::/\n"
    at = f"{mount}/docker/12ab"
    files = {f"{at}/cpu.cfs_quota_us": "300000\n", f"{at}/cpu.cfs_period_us": "100000\n"}
    assert cgroups(tmp_path, membership, files) == 3.0


def test_inside_a_container_of_version_1_the_quota_is_at_the_top(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cgroups(tmp_path, "4:cpu:/docker/12ab\n", files) == 0.5


def test_minus_one_is_no_quota(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cgroups(tmp_path, "4:cpu:/\n", files) == math.inf


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path / "nothing", tmp_path) == math.inf


# Counts of threads


@pytest.mark.parametrize(("affinity", "quota", "cores"), [(8, math.inf, 8), (8, 3.9, 3), (8, 0.5, 1), (2, 4.0, 2)])
def test_cores_are_bounded_by_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr("hrnn_hpo.cores.quota_cores", lambda: quota)
    assert available_cores() == cores


@pytest.mark.parametrize(
    ("told", "n_processes", "threads"),
    [
        ({}, 1, 8),
        ({}, 3, 2),
        ({}, 9, 1),
        ({"OMP_NUM_THREADS": "3"}, 1, 3),
        ({"OMP_NUM_THREADS": "3"}, 4, 2),  # a share of the cores
        ({"OMP_NUM_THREADS": "64"}, 1, 8),
        ({"OMP_NUM_THREADS": "4,2"}, 1, 4),  # the second is for nested regions
        ({"OMP_NUM_THREADS": "many"}, 1, 8),  # OpenMP leaves it out too
        ({"OMP_THREAD_LIMIT": "2"}, 1, 2),
    ],
)
def test_omp_num_threads_lowers_the_default(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], n_processes: int, threads: int
) -> None:
    monkeypatch.setattr("hrnn_hpo.cores.available_cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    for name, text in told.items():
        monkeypatch.setenv(name, text)
    assert default_threads(n_processes) == threads


# What OpenMP is told


@pytest.fixture
def before_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(cores, "_came_too_late", False)
    monkeypatch.setattr(cores, "quota_cores", lambda: math.inf)


@pytest.mark.usefixtures("before_pytorch")
@pytest.mark.parametrize(
    ("told", "then"),
    [
        ({}, {"GOMP_SPINCOUNT": "30000"}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "30000"}),
        ({"GOMP_SPINCOUNT": "500"}, {"GOMP_SPINCOUNT": "500"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"KMP_BLOCKTIME": "1"}, {"KMP_BLOCKTIME": "1"}),
    ],
)
def test_threads_sleep_soon_unless_the_user_says_how_they_wait(told: dict[str, str], then: dict[str, str]) -> None:
    environment = dict(told)
    prepare_openmp(environment)
    assert environment == then


@pytest.mark.usefixtures("before_pytorch")
def test_openmp_hears_of_a_quota_that_it_does_not_see_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "quota_cores", lambda: 2.5)
    environment: dict[str, str] = {}
    prepare_openmp(environment)
    assert environment["OMP_NUM_THREADS"] == "2"
    told = {"OMP_NUM_THREADS": "6"}
    prepare_openmp(told)
    assert told["OMP_NUM_THREADS"] == "6"


def test_where_pytorch_came_first_nothing_is_changed_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert "torch" in sys.modules
    monkeypatch.setattr(cores, "_came_too_late", False)
    environment: dict[str, str] = {}
    prepare_openmp(environment)
    assert environment == {}
    before = torch.get_num_threads()
    try:
        with caplog.at_level(logging.WARNING):
            use_threads(1)
            assert not caplog.records  # one thread waits for nobody
            use_threads(2)
            assert torch.get_num_threads() == 2
            use_threads(2)
    finally:
        torch.set_num_threads(before)
    assert [record.message for record in caplog.records] == [
        "PyTorch was loaded before hrnn_hpo, so its threads spin while they wait: very slow on cores with other work. "
        "Import hrnn_hpo first, or set GOMP_SPINCOUNT=30000 in the environment."
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP is in PyTorch's builds for Linux")
@pytest.mark.parametrize(
    ("program", "spin_count"),
    [
        ("import hrnn_hpo, torch", "'30000'"),
        ("import hrnn_hpo.experiment", "'30000'"),
        ("import torch, hrnn_hpo", "'300000'"),
    ],
)
def test_pytorchs_openmp_reports_what_it_was_told(program: str, spin_count: str) -> None:
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.partition("=")[2].strip() for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert found
    assert set(found) == {spin_count}

"""What all tests share: Hypothesis without a clock, one thread, Ctrl-C, a cache of their own, an MLflow store."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inputs are tiny; set before NumPy and PyTorch are loaded
settings.register_profile("hrnn", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("hrnn")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HRNN_HPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MLflow database made once: its migrations take seconds."""
    from hrnn_hpo.tracking import Tracker

    folder = tmp_path_factory.mktemp("mlflow")
    Tracker(f"sqlite:///{folder}/new.db")
    with closing(sqlite3.connect(folder / "new.db")) as new, closing(sqlite3.connect(folder / "mlflow.db")) as copy:
        new.backup(copy)  # one file, the write-ahead log included
    return folder / "mlflow.db"


@pytest.fixture
def mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path) -> Path:
    """Put mlruns/, with an MLflow database, and the cache into the test's folder; return mlruns/."""
    monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("HRNN_HPO_STORAGE", raising=False)
    folder = tmp_path / "mlruns"
    folder.mkdir()
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    return folder

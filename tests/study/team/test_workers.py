"""Where workers are placed, seats and GPUs as plain counts; and what the machine sees of them."""

import subprocess
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.stores import storage_address, tracking_address
from hrnn_hpo.study.team.local_team import LocalTeam, gpu_names, gpu_of_seat
from hrnn_hpo.study.team.team import Addresses


@pytest.mark.parametrize(
    ("n_workers", "gpus", "placed"),
    [
        (2, [], [None, None]),
        (2, ["0", "1", "2"], ["0", "1"]),  # one each
        (5, ["0", "1"], ["0", "1", "0", "1", "0"]),  # shared, as evenly as can be
        (2, ["GPU-7f", "GPU-a1"], ["GPU-7f", "GPU-a1"]),
    ],
)
def test_workers_get_a_gpu_each_or_share(n_workers: int, gpus: list[str], placed: list[str | None]) -> None:
    assert [gpu_of_seat(seat, gpus) for seat in range(n_workers)] == placed


@pytest.mark.parametrize(
    ("n_gpus", "visible", "names"),
    [
        (0, None, []),
        (2, None, ["0", "1"]),
        (2, "4,7", ["4", "7"]),
        (1, " 3 , 9", ["3"]),  # PyTorch found one of them
        (0, "", []),
    ],
)
def test_only_visible_devices_are_given_away(n_gpus: int, visible: str | None, names: list[str]) -> None:
    assert gpu_names(n_gpus, visible) == names


def test_no_command_line_shows_an_address(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, env, **_: started.append((command, env)))
    addresses = Addresses(Path("log"), "postgresql+psycopg://me:secret@host/db", "http://me:secret@host", "cpu")
    LocalTeam(1, addresses).start(optuna.create_study(study_name="s"))
    [(command, environment)] = started
    assert "secret" not in " ".join(command)
    assert storage_address() != addresses.storage
    monkeypatch.setenv("HRNN_HPO_STORAGE", environment["HRNN_HPO_STORAGE"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", environment["MLFLOW_TRACKING_URI"])
    assert (storage_address(), tracking_address()) == (addresses.storage, addresses.tracking_uri)


@pytest.mark.parametrize("name", ["s", "-x", "--json", "two words"])
def test_a_worker_is_told_its_study_whatever_that_is_called(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    LocalTeam(1, Addresses(Path("log"), "sqlite:///o.db", "sqlite:///m.db", "cpu")).start(
        optuna.create_study(study_name=name)
    )
    joined: list[str] = []
    monkeypatch.setattr("hrnn_hpo.study.team.worker.work", lambda data, study, **_: joined.append(study) or "done")
    [command] = started
    answer = CliRunner().invoke(app, command[command.index("worker") :])
    assert (answer.exit_code, joined) == (0, [name])

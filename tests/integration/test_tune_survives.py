"""Real studies in real processes, killed and stopped; nothing finished is lost, nothing stays running."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient

from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.stores import tracking_address
from hrnn_hpo.study.attributes import STARTS, WORKER, epochs_of, last_attempts
from hrnn_hpo.study.storage import load_study, open_storage

PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
SPACE = """extends: aws-hrnn
recipe: null
parameters:
  hidden_dimension: {range: [8, 32], default: 16}
  epochs: {kind: training, type: integer, range: [1, 50], default: 8, tunable: false, doc: Most epochs.}
  patience: {kind: training, type: integer, range: [1, 50], default: 8, tunable: false, doc: Epochs.}
  batch_size: {kind: training, type: integer, range: [1, 64], default: 16, tunable: false, doc: Users.}
fix: {bptt: 16}
"""


@pytest.fixture
def project(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    write_csv(markov(n_users=200, n_items=60, n_events=40), tmp_path / "log")
    return tmp_path


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [PROGRAM, "tune", "log", "--study", "s", "--space", "space.yaml", "--device", "cpu", "--pruner", "none"]
    command += ["--threads", "1"]
    return subprocess.Popen([*command, *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    content: dict[str, Any] = json.loads(out)
    return content


def study() -> optuna.Study:
    return load_study("s", open_storage())


def running_trial(tune: "subprocess.Popen[str]", least_epochs: int) -> optuna.trial.FrozenTrial:
    """Return a trial that runs in some process and has had so many epochs, once there is one."""
    give_up_at = time.monotonic() + 120
    while time.monotonic() < give_up_at and tune.poll() is None:
        if Path("mlruns/optuna.db").exists() and "s" in optuna.get_all_study_names(open_storage()):
            for trial in study().get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
                if WORKER in trial.user_attrs and least_epochs <= len(epochs_of(trial)):
                    return trial
        time.sleep(0.05)
    tune.kill()
    raise AssertionError(f"no trial got that far: {tune.communicate()}")


def check_whole(n_trials: int) -> None:
    """Check that a finished study has no loose ends in Optuna's storage nor in MLflow."""
    states = Counter(trial.state.name for trial in last_attempts(study()))
    assert states == {"COMPLETE": n_trials}
    assert {trial.state.name for trial in study().trials} <= {"COMPLETE", "FAIL"}
    client = MlflowClient(tracking_address())
    runs = client.search_runs([client.get_experiment_by_name("hrnn-hpo").experiment_id])
    trials = [run for run in runs if run.data.tags["role"] == "trial"]
    assert len(trials) == len({run.data.tags["trial"] for run in trials}) == n_trials
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in trials:
        history = client.get_metric_history(run.info.run_id, "ndcg_at_10")
        steps = [entry.step for entry in history]
        assert sorted(steps) == list(range(1, len(steps) + 1))  # every epoch once, then the best one


@pytest.mark.slow
def test_three_kills_of_workers_and_parent_lose_nothing(project: Path) -> None:
    tune = start("--n-trials", "4", "--workers", "2")
    epochs_when_killed: dict[int, int] = {}
    for least_epochs in (2, 3):
        trial = running_trial(tune, least_epochs)
        os.kill(trial.user_attrs[WORKER]["pid"], signal.SIGKILL)
        epochs_when_killed[trial.number] = len(epochs_of(trial))
        time.sleep(2)
    running_trial(tune, 1)
    tune.kill()  # the parent: its workers notice, stop after their epoch and queue their trials again
    tune.communicate()
    result = finish(start("--n-trials", "4", "--workers", "2"))
    assert result["trials"]["complete"] == 4
    check_whole(4)
    retried = [trial for trial in study().trials if "retry_history" in trial.system_attrs]
    assert retried
    for trial in retried:
        for killed in trial.system_attrs["retry_history"]:
            # It went on from its last checkpoint: at most the epoch that ran when the worker died is run again.
            assert max(trial.user_attrs[STARTS]) >= epochs_when_killed.get(killed, 0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_after_the_epoch_and_the_same_command_continues(project: Path, workers: str) -> None:
    tune = start("--n-trials", "3", "--workers", workers)
    running_trial(tune, 1)
    tune.send_signal(signal.SIGINT)
    out, err = tune.communicate(timeout=60)
    assert tune.returncode == 130, err
    assert "Ctrl-C again" in err
    assert json.loads(out)["interrupted"] is True
    assert {trial.state.name for trial in study().trials} <= {"COMPLETE", "FAIL", "WAITING"}
    client = MlflowClient(tracking_address())
    [parent] = client.search_runs([client.get_experiment_by_name("hrnn-hpo").experiment_id], "tags.role = 'study'")
    assert parent.info.status == "KILLED"
    finish(start("--n-trials", "3", "--workers", workers))
    check_whole(3)

"""Real studies in real processes, killed and stopped; nothing finished is lost, nothing stays running."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState
from real_studies import check_whole, finish, running_trial, start, study, wait_for, write_project

from hrnn_hpo.errors import HRNNError
from hrnn_hpo.stores import tracking_address
from hrnn_hpo.study.attributes import STARTS, TAKEN_UP, WORKER, epochs_of
from hrnn_hpo.study.run.continuing import best_after
from hrnn_hpo.study.trials import last_attempts


@pytest.fixture
def project(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_project(tmp_path)
    return tmp_path


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


@pytest.mark.slow
def test_kills_while_the_best_trials_are_finished_lose_nothing(project: Path) -> None:
    arguments = ("--pruner", "epochs:2", "--keep", "3", "--n-trials", "6", "--workers", "2", "--confirm", "0")
    tune = start(*arguments)

    def going_on() -> FrozenTrial | None:
        with contextlib.suppress(HRNNError):
            running = study().get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            return next((t for t in running if TAKEN_UP in t.user_attrs and len(epochs_of(t)) > 2), None)
        return None

    os.kill(wait_for(going_on, tune).user_attrs[WORKER]["pid"], signal.SIGKILL)
    time.sleep(1)
    tune.kill()
    tune.communicate()
    result = finish(start(*arguments))
    trials = last_attempts(study())
    assert result["trials"]["complete"] + result["trials"]["pruned"] == len(trials) == 6
    assert all(trial.state == TrialState.COMPLETE for trial in best_after(2, trials)[:3])
    assert all(len(epochs_of(trial)) == (8 if trial.state == TrialState.COMPLETE else 2) for trial in trials)
    client = MlflowClient(tracking_address())
    experiment = client.get_experiment_by_name("hrnn-hpo").experiment_id
    runs = client.search_runs([experiment], "tags.role = 'trial'")
    assert sorted(run.data.tags["state"] for run in runs) == sorted(trial.state.name.lower() for trial in trials)
    assert {run.info.status for run in runs} == {"FINISHED"}

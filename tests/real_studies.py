"""Studies in real processes: started, watched through their storage, and checked for loose ends at their end."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient

from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.errors import HRNNError
from hrnn_hpo.stores import tracking_address
from hrnn_hpo.study.attributes import WORKER, epochs_of
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts

PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
SPACE = """extends: aws-hrnn
recipe: null
parameters:
  hidden_dimension: {{range: [8, 32], default: 16}}
  epochs: {{kind: training, type: integer, range: [1, 50], default: {epochs}, tunable: false, doc: Most epochs.}}
  patience: {{kind: training, type: integer, range: [1, 50], default: {epochs}, tunable: false, doc: Epochs.}}
  batch_size: {{kind: training, type: integer, range: [1, 64], default: 16, tunable: false, doc: Users.}}
fix: {{bptt: 16}}
"""
Process = subprocess.Popen[str]


def write_project(folder: Path, *, n_users: int = 200, epochs: int = 8) -> None:
    """Write `space.yaml` and a `log` whose trials take a few seconds."""
    (folder / "space.yaml").write_text(SPACE.format(epochs=epochs), encoding="utf-8")
    write_csv(markov(n_users=n_users, n_items=60, n_events=40), folder / "log")


def start(*arguments: str, study: str = "s", **options: Any) -> Process:
    """Start `tune` of a study in the working folder; `options` are Popen's."""
    command = ["tune", "log", "--study", study, "--space", "space.yaml", "--device", "cpu", "--pruner", "none"]
    return start_program(*command, "--threads", "1", *arguments, "--json", **options)


def start_program(*arguments: str, **options: Any) -> Process:
    """Start `hrnn-hpo` with these arguments; `options` are Popen's."""
    command = [PROGRAM, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finish(process: Process) -> dict[str, Any]:
    """Wait for `tune` and return what it printed."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    content: dict[str, Any] = json.loads(out)
    return content


def study(storage: str | None = None) -> optuna.Study:
    """Return study `s`."""
    return load_study("s", open_storage(storage))


def wait_for(condition: Callable[[], Any], *processes: Process, seconds: float = 300) -> Any:
    """Return what `condition` returns once that is true; all processes must be alive meanwhile."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at and all(process.poll() is None for process in processes):
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    for process in processes:
        process.kill()
    raise AssertionError(f"it did not come to that: {[process.communicate() for process in processes]}")


def running_trial(tune: Process, least_epochs: int, storage: str | None = None) -> optuna.trial.FrozenTrial:
    """Return a trial that runs in some process and has had so many epochs, once there is one."""

    def begun() -> optuna.Study | None:
        with contextlib.suppress(HRNNError):
            return study(storage)
        return None

    watched = wait_for(begun, tune)

    def look() -> optuna.trial.FrozenTrial | None:
        running = watched.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        there = (trial for trial in running if WORKER in trial.user_attrs and least_epochs <= len(epochs_of(trial)))
        return next(there, None)

    found: optuna.trial.FrozenTrial = wait_for(look, tune)
    return found


def check_whole(n_trials: int, storage: str | None = None, tracking: str | None = None) -> None:
    """Check that a finished study has no loose ends in Optuna's storage nor in MLflow."""
    attempts = last_attempts(study(storage))
    odd = [
        (trial.number, trial.state.name, trial.user_attrs, trial.system_attrs)
        for trial in attempts
        if trial.state.name != "COMPLETE"
    ]
    assert not odd, odd
    assert len(attempts) == n_trials
    assert {trial.state.name for trial in study(storage).trials} <= {"COMPLETE", "FAIL"}
    client = MlflowClient(tracking_address(tracking))
    runs = client.search_runs([client.get_experiment_by_name("hrnn-hpo").experiment_id])
    trials = [run for run in runs if run.data.tags["role"] == "trial"]
    assert len(trials) == len({run.data.tags["trial"] for run in trials}) == n_trials
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in trials:
        history = client.get_metric_history(run.info.run_id, "ndcg_at_10")
        steps = [entry.step for entry in history]
        assert sorted(steps) == list(range(1, len(steps) + 1))  # every epoch once, then the best one

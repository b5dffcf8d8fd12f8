"""A confirmation in real processes, killed with -9 in the middle: it goes on, and ends as an undisturbed one does."""

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
from mlflow import MlflowClient, pyfunc, set_registry_uri, set_tracking_uri
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.data.synthetic import markov, write_csv
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.serving.recommender import Recommender
from hrnn_hpo.stores import tracking_address
from hrnn_hpo.study.attributes import CANDIDATE, REPEAT, STARTS, WORKER, epochs_of
from hrnn_hpo.study.confirm import companion_name, confirmation_runs
from hrnn_hpo.study.leaderboard import openings
from hrnn_hpo.study.storage import load_study, open_storage

PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
SPACE = """extends: aws-hrnn
recipe: null
parameters:
  hidden_dimension: {range: [8, 32], default: 8}
  epochs: {kind: training, type: integer, range: [1, 50], default: 24, tunable: false, doc: Most epochs.}
  patience: {kind: training, type: integer, range: [1, 50], default: 24, tunable: false, doc: Epochs.}
  batch_size: {kind: training, type: integer, range: [1, 64], default: 16, tunable: false, doc: Users.}
fix: {bptt: 16}
"""


@pytest.fixture
def project(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    write_csv(markov(n_users=400, n_items=60, n_events=40), tmp_path / "log")
    return tmp_path


def tune(study: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [PROGRAM, "tune", "log", "--study", study, "--space", "space.yaml", "--n-trials", "2", "--pruner", "none"]
    command += ["--confirm", "1", "--confirm-seeds", "2", "--device", "cpu", "--threads", "1", "--json"]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


def running(process: "subprocess.Popen[str]", study: str, least_epochs: int, but: set[int]) -> FrozenTrial:
    """Return a confirmation run that has had so many epochs and is none of `but`, once there is one."""
    give_up_at = time.monotonic() + 180
    while time.monotonic() < give_up_at and process.poll() is None:
        storage = open_storage() if Path("mlruns/optuna.db").exists() else None
        if storage is not None and companion_name(study) in optuna.get_all_study_names(storage):
            companion = load_study(companion_name(study), storage)
            for run in companion.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if WORKER in run.user_attrs and run.number not in but and len(epochs_of(run)) >= least_epochs:
                    return run
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no run got that far: {process.communicate()}")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_confirmation_goes_on_and_ends_as_an_undisturbed_one(project: Path, workers: str) -> None:
    whole = finish(tune("whole"))
    killed: dict[int, int] = {}
    for _ in range(2):
        process = tune("s", "--workers", workers)
        run = running(process, "s", 2, set(killed))
        killed[run.number] = len(epochs_of(run))
        os.kill(run.user_attrs[WORKER]["pid"], signal.SIGKILL)
        process.kill()
        process.communicate()
    result = finish(tune("s", "--workers", workers))

    for content in (whole, result):
        content["confirmation"]["time"] = 0
    assert result["confirmation"] == whole["confirmation"]
    assert result["leaderboard"] == whole["leaderboard"]
    assert result["best"] == whole["best"]
    assert openings(load_study("s", open_storage())) == 1

    companion = load_study(companion_name("s"), open_storage())
    runs = confirmation_runs(companion)
    assert Counter(run.state.name for run in runs) == {"COMPLETE": 4}
    assert {run.state.name for run in companion.trials} <= {"COMPLETE", "FAIL"}
    retried = [run for run in companion.trials if "retry_history" in run.system_attrs]
    assert {number for run in retried for number in run.system_attrs["retry_history"]} >= set(killed)
    for run in retried:  # from its last checkpoint: at most the epoch that ran when it was killed is run again
        assert max(run.user_attrs[STARTS]) >= max(killed.get(n, 0) for n in run.system_attrs["retry_history"])

    client = MlflowClient(tracking_address())
    experiment = client.get_experiment_by_name("hrnn-hpo").experiment_id
    found = client.search_runs([experiment], "tags.study = 's' and tags.role = 'confirm'")
    keys = {f"{run.user_attrs[CANDIDATE]}-{run.user_attrs[REPEAT]}" for run in runs}
    assert sorted(run.data.tags["confirm_run"] for run in found) == sorted(keys)
    assert {run.info.status for run in found} == {"FINISHED"}
    for one in found:
        steps = [entry.step for entry in client.get_metric_history(one.info.run_id, "ndcg_at_10")]
        assert sorted(steps) == list(range(1, len(steps) + 1))  # every epoch once, then the best one


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # MLflow's, about its own models
def test_the_registered_winner_recommends_serves_and_remembers_its_opening(project: Path) -> None:
    finish(tune("s", "--out", "out"))
    [version] = MlflowClient(tracking_address(), tracking_address()).search_model_versions("name = 's'")
    assert (version.version, version.tags["opening"]) == (1, "1")
    finish(tune("s", "--out", "out"))  # registers nothing twice
    assert len(MlflowClient(tracking_address(), tracking_address()).search_model_versions("name = 's'")) == 1

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([PROGRAM, *command], capture_output=True, text=True, timeout=120)

    user = load_model(Path("out/model")).histories.user_ids[0]
    ours = run("recommend", "out/model", "--user", str(user), "--json")
    theirs = run("recommend", "models:/s/1", "--user", str(user), "--json")
    assert theirs.returncode == 0, theirs.stderr
    assert json.loads(theirs.stdout) == json.loads(ours.stdout)
    refused = run("evaluate", "models:/s/1", "log")
    assert refused.returncode == 2
    assert "opened 1 time(s) before" in refused.stderr
    assert run("evaluate", "models:/s/1", "log", "--again").returncode == 0

    set_tracking_uri(tracking_address())
    set_registry_uri(tracking_address())  # whatever an earlier test of this process has set
    model = pyfunc.load_model("models:/s/1")
    [answer] = model.predict([{"userId": str(user)}], params={"k": 3})
    expected = Recommender(load_model(Path("out/model"))).recommend(str(user), 3)
    assert answer["items"] == [one.item for one in expected]
    assert not list(Path("mlruns/artifacts/models").rglob("*.pkl"))

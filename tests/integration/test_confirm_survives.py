"""A confirmation in real processes, killed with -9 in the middle: it goes on, and ends as an undisturbed one does."""

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient, pyfunc
from optuna.trial import FrozenTrial, TrialState
from real_studies import PROGRAM, Process, finish, start, wait_for, write_project

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.serving.recommender import Recommender
from hrnn_hpo.stores import tracking_address
from hrnn_hpo.study.attributes import CANDIDATE, RUN_INDEX, STARTS, WORKER, epochs_of
from hrnn_hpo.study.confirm.agenda import confirmation_runs, screening_runs
from hrnn_hpo.study.confirm.runs import companion_name
from hrnn_hpo.study.confirm.test_part import openings
from hrnn_hpo.study.storage.database import has_study, load_study, open_storage

EPOCHS = 24  # a run should take seconds, so that it can be killed in the middle


@pytest.fixture
def project(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_project(tmp_path, n_users=400, epochs=EPOCHS)
    return tmp_path


def tune(study: str, *arguments: str) -> Process:
    """Start a study of two trials with a confirmation of four runs, in a process group of its own."""
    command = ["--n-trials", "2", "--confirm", "1", "--confirm-seeds", "2", *arguments]
    return start(*command, study=study, start_new_session=True)


def running(process: Process, study: str, least_epochs: int, but: set[int]) -> FrozenTrial:
    """Return a confirmation run that has had so many epochs and is none of `but`, once there is one."""

    def look() -> FrozenTrial | None:
        storage = open_storage() if Path("mlruns/optuna.db").exists() else None
        if storage is None or not has_study(companion_name(study), storage):
            return None
        companion = load_study(companion_name(study), storage)
        runs = companion.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        there = (run for run in runs if WORKER in run.user_attrs and run.number not in but)
        return next((run for run in there if len(epochs_of(run)) >= least_epochs), None)

    found: FrozenTrial = wait_for(look, process)
    return found


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
    keys = {f"{run.user_attrs[CANDIDATE]}-{run.user_attrs[RUN_INDEX]}" for run in runs}
    assert sorted(run.data.tags["confirm_run"] for run in found) == sorted(keys)
    assert {run.info.status for run in found} == {"FINISHED"}
    for one in found:
        steps = [entry.step for entry in client.get_metric_history(one.info.run_id, "ndcg_at_10")]
        assert sorted(steps) == list(range(1, len(steps) + 1))  # every epoch once, then the best one


@pytest.mark.slow
def test_a_screening_killed_in_each_round_chooses_whom_an_undisturbed_one_chooses(project: Path) -> None:
    write_project(project, n_users=200, epochs=8)
    options = ["--n-trials", "5", "--screen", "3", "--seed", "1", "--deterministic"]
    whole = finish(tune("whole", *options))
    killed: set[int] = set()
    for n_runs in (1, 5 + 1):  # in the first round of three runs, beside two of the defaults, and in the second
        process = tune("s", *options, "--workers", "2")
        run = running(process, "s", 2, {*killed, *range(n_runs - 1)})
        killed.add(run.number)
        os.kill(run.user_attrs[WORKER]["pid"], signal.SIGKILL)
        process.kill()
        process.communicate()
    result = finish(tune("s", *options, "--workers", "2"))
    for content in (whole, result):
        content["confirmation"]["time"] = 0
    assert result["confirmation"] == whole["confirmation"]
    assert result["leaderboard"] == whole["leaderboard"]
    assert sorted(len(one["scores"]) for one in result["confirmation"]["screened"]) == [1, 2, 2]
    companion = load_study(companion_name("s"), open_storage())
    assert Counter(run.state.name for run in screening_runs(companion)) == {"COMPLETE": 5}
    assert Counter(run.state.name for run in confirmation_runs(companion)) == {"COMPLETE": 4}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # MLflow's, about its own models
def test_the_registered_winner_recommends_serves_and_remembers_its_opening(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_address())
    model = pyfunc.load_model("models:/s/1")
    [answer] = model.predict([{"userId": str(user)}], params={"k": 3})
    expected = Recommender(load_model(Path("out/model"))).recommend(str(user), 3)
    assert answer["items"] == [one.item for one in expected]
    with pytest.raises(ConfigError, match=r"Row 0: .*does not read the time of a request"):
        model.predict([{"userId": str(user), "REQUEST_TIME": 1_700_000_000}])
    assert not list(Path("mlruns/artifacts/models").rglob("*.pkl"))

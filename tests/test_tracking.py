"""MLflow behind the tracker: what it stores, where, and what happens when it cannot."""

import logging
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hostile import NAMES
from mlflow import MlflowClient
from mlflow.entities import Run
from servers import free_port

from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.stores import mlflow_address
from hrnn_hpo.tracking import EXPERIMENT, Data, Tracker, download_model, git_commit
from hrnn_hpo.tracking.ui import serve_ui


@pytest.fixture
def tracker(mlruns: Path) -> Tracker:
    return Tracker()


def read(tracker: Tracker, run: str | None) -> Run:
    assert run is not None
    return MlflowClient(mlflow_address(tracker.uri)).get_run(run)


def test_runs_carry_parameters_tags_and_their_parent(tracker: Tracker) -> None:
    parent = tracker.start_run("study", tags={"role": "study"})
    child = tracker.start_run(
        "trial 0", parent=parent, tags={"trial": "0"}, params={"hidden_dimension": 43, "recency_mask": True}
    )
    run = read(tracker, child)
    assert run.data.params == {"hidden_dimension": "43", "recency_mask": "true"}
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.run_name == "trial 0"
    assert tracker.child_runs(str(parent)) == [child]
    assert tracker.find_run({"trial": "0"}) == child
    assert tracker.find_run({"trial": "1"}) is None


def test_metrics_written_twice_are_there_once(tracker: Tracker) -> None:
    run = tracker.start_run("r", tags={})
    for _ in range(2):
        tracker.log_metrics(run, {"ndcg_at_10": 0.25, "coverage": 0.5}, 3, 1_700_000_000.5)
    history = MlflowClient(tracker.uri).get_metric_history(str(run), "ndcg_at_10")
    assert [(entry.value, entry.step, entry.timestamp) for entry in history] == [(0.25, 3, 1_700_000_000_500)]


def test_a_run_ends_and_opens_again(tracker: Tracker) -> None:
    run = tracker.start_run("r", tags={})
    for status in ("KILLED", "SCHEDULED", "RUNNING", "FINISHED"):
        tracker.end_run(run, status)
        assert read(tracker, run).info.status == status


def test_artifacts_are_files_in_mlruns(tracker: Tracker, mlruns: Path, tmp_path: Path) -> None:
    run = tracker.start_run("r", tags={})
    (tmp_path / "plot.png").write_bytes(b"png")
    tracker.log_text(run, "a: 1\n", "space.yaml")
    tracker.log_file(run, tmp_path / "plot.png", "plots")
    found = sorted(path.relative_to(mlruns).name for path in mlruns.rglob("artifacts/*/artifacts/**/*.*"))
    assert found == ["plot.png", "space.yaml"]


def test_a_text_is_emptied_where_there_is_one(tracker: Tracker, mlruns: Path) -> None:
    run = tracker.start_run("r", tags={})
    tracker.clear_text(run, "failure.txt")
    assert list((mlruns / "artifacts").rglob("failure.txt")) == []
    tracker.log_text(run, "Traceback", "failure.txt")
    tracker.clear_text(run, "failure.txt")
    [file] = (mlruns / "artifacts").rglob("failure.txt")
    assert file.read_text() == ""


def test_artifacts_are_found_after_mlruns_has_moved(
    tracker: Tracker, mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tracker.start_run("r", tags={})
    tracker.log_text(run, "a: 1\n", "space.yaml")
    (tmp_path / "else where").mkdir()
    shutil.move(mlruns, tmp_path / "else where" / "mlruns")
    monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path / "else where"))
    moved = Tracker()
    client = MlflowClient(moved.uri)
    assert [file.path for file in client.list_artifacts(str(run))] == ["space.yaml"]
    assert Path(client.download_artifacts(str(run), "space.yaml")).read_text() == "a: 1\n"
    later = moved.start_run("later", tags={})
    moved.log_text(later, "b: 2\n", "more.yaml")
    assert len(list((tmp_path / "else where").rglob("*.yaml"))) == 2
    assert not mlruns.exists()


def test_a_store_that_fails_is_one_warning_and_is_left_alone_for_a_while(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = tracker.start_run("r", tags={})
    calls = []

    def fail(*_: object, **__: object) -> None:
        calls.append(1)
        raise ConnectionError("server is away\nfor long")

    monkeypatch.setattr(tracker._client, "log_batch", fail)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            tracker.log_metrics(run, {"ndcg_at_10": 0.1}, step, 0.0)
    assert len(calls) == 1
    assert [record.message for record in caplog.records] == [
        "MLflow could not be written (server is away); the study goes on."
    ]
    assert tracker.behind == {run}
    monkeypatch.setattr("hrnn_hpo.tracking.tracker.time.monotonic", lambda: float("inf"))
    tracker.log_metrics(run, {"ndcg_at_10": 0.1}, 9, 0.0)
    assert len(calls) == 2


def test_writing_to_a_run_that_could_not_be_created_does_nothing(tracker: Tracker) -> None:
    tracker.log_metrics(None, {"ndcg_at_10": 0.1}, 1, 0.0)
    tracker.set_tags(None, {"a": "b"})
    tracker.end_run(None, "FINISHED")
    assert tracker.behind == set()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "no-such-scheme://x"])
def test_a_store_that_cannot_be_opened_is_a_run_failure(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunFailedError, match=r"(?s)cannot be opened.*Start the server, or leave --tracking-uri out"):
        Tracker(uri)


def test_a_refused_store_keeps_its_password_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunFailedError) as refused:
        Tracker("http://me:secret@127.0.0.1:9")
    assert "127.0.0.1:9" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_embedded_store_that_cannot_be_opened_has_no_server_to_start() -> None:
    with pytest.raises(RunFailedError, match=r"^The tracking store sqlite:.* cannot be opened: [^\n]+$"):
        Tracker("sqlite:////dev/null/mlflow.db")


def test_an_old_file_store_in_the_working_folder_changes_nothing(
    mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (mlruns / "0").mkdir()
    (mlruns / "0" / "meta.yaml").write_text("artifact_location: x\nexperiment_id: '0'\nname: Default\n")
    assert Tracker().start_run("r", tags={}) is not None


def test_the_database_is_in_write_ahead_mode(tracker: Tracker, mlruns: Path) -> None:
    connection = sqlite3.connect(mlruns / "mlflow.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.slow
def test_several_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(_open_and_write, [uri] * 3))
    assert len(set(runs)) == 3
    assert len(MlflowClient(uri).search_experiments(filter_string=f"name = '{EXPERIMENT}'")) == 1


def _open_and_write(uri: str) -> str | None:
    return Tracker(uri).start_run("r", tags={})


def test_the_commit_says_where_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    clean = git_commit()
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert git_commit() == f"{clean}-dirty"


def test_a_taken_port_is_refused(mlruns: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(
            RunFailedError, match=r"cannot be listened on \(Address already in use\); try another --port"
        ):
            serve_ui(None, "127.0.0.1", taken.getsockname()[1], print)


def test_an_address_that_is_not_this_machines_is_refused_as_such(mlruns: Path) -> None:
    with pytest.raises(RunFailedError, match=r"192\.0\.2\.1:5001: cannot be listened on \(Cannot assign.*or --host"):
        serve_ui(None, "192.0.2.1", 5001, print)


def test_a_server_has_a_user_interface_of_its_own() -> None:
    with pytest.raises(ConfigError, match="open it in a browser"):
        serve_ui("http://localhost:5000", "127.0.0.1", 5001, print)


def test_no_telemetry_is_sent() -> None:
    command = "import os, hrnn_hpo.tracking; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    answer = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "true"


def test_a_model_is_registered_once_and_comes_back_as_its_folder(tracker: Tracker, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "split.json").write_text("{}")
    run = tracker.start_run("r", tags={})
    for opening in ("1", "1", "2"):
        tracker.register_model(run, "first", folder, {"study_uid": "u", "opening": opening})
    assert not tracker.behind
    found = MlflowClient(tracker.uri, tracker.uri).search_model_versions("name = 'first'")
    assert sorted((version.version, version.tags["opening"], version.run_id) for version in found) == [
        (1, "1", run),
        (2, "2", run),
    ]
    fetched = download_model("models:/first/2", tracker.uri)
    assert [path.name for path in fetched.iterdir()] == ["split.json"]
    assert not list(fetched.parent.rglob("*.pkl"))
    for wrong in ("models:/", "models:/first", "models:/first/3", "models:/first@nobody", "models:/second/1"):
        with pytest.raises(ConfigError, match=rf"^{wrong}: .* is models:/NAME/VERSION .* registered there: first\.$"):
            download_model(wrong, tracker.uri)


def test_looking_for_a_model_makes_no_store(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with pytest.raises(ConfigError, match=f"no MLflow store at {re.escape(str(file))}; `hrnn-hpo tune` makes one"):
        download_model("models:/first/1", f"sqlite:///{file}")
    assert not list(tmp_path.iterdir())


def test_two_studies_of_one_name_never_share_a_registered_model(tracker: Tracker, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    run = tracker.start_run("r", tags={})
    ours, theirs = "a" * 32, "b" * 32  # of two storages, or of a name that was taken again
    for uid in (ours, theirs, ours, theirs):
        tracker.register_model(run, "first", folder, {"study_uid": uid, "opening": "1"})
    client = MlflowClient(tracker.uri, tracker.uri)
    found = {version.name: version.tags["study_uid"] for version in client.search_model_versions("")}
    assert found == {"first": ours, "first-bbbbbbbb": theirs}
    assert len(client.search_model_versions("")) == 2


@pytest.mark.parametrize("set_by", ["nobody", "environment", "call"])
def test_the_callers_own_address_outlives_registering_and_fetching(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_by: str
) -> None:
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    own = f"sqlite:///{tmp_path}/own.db"
    for name in names:
        monkeypatch.setenv(name, own)
        if set_by == "nobody":
            monkeypatch.delenv(name)
    if set_by == "call":
        mlflow.set_tracking_uri(own)
        mlflow.set_registry_uri(own)
    before = [*map(os.environ.get, names), mlflow.get_tracking_uri(), mlflow.get_registry_uri()]
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "split.json").write_text("{}")
    tracker.register_model(tracker.start_run("r", tags={}), "first", folder, {"opening": "1"})
    download_model("models:/first/1", tracker.uri)
    try:
        assert [*map(os.environ.get, names), mlflow.get_tracking_uri(), mlflow.get_registry_uri()] == before
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]


def test_a_run_with_any_tags_is_found_again(tracker: Tracker) -> None:
    runs = {name: tracker.start_run(name, tags={"study": name, "role": "study"}) for name in NAMES}
    assert {name: tracker.find_run({"study": name, "role": "study"}) for name in NAMES} == runs
    assert tracker.find_run({"study": "nobody' or 'a' = 'a"}) is None
    assert tracker.failure is None


@pytest.mark.parametrize("name", ["o'brien", '" or "'])
def test_a_model_of_any_name_is_registered_once(tracker: Tracker, tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "split.json").write_text("{}")
    parent, run = tracker.start_run("s", tags={}), tracker.start_run("r", tags={})
    for _ in range(2):
        tracker.register_model(run, name, tmp_path / "model", {"study_uid": name}, parent=parent)
    assert tracker.failure is None
    versions = MlflowClient(tracker.uri, tracker.uri).search_model_versions("")
    assert [(version.name, version.run_id) for version in versions] == [(name, run)]
    for one in (parent, run):
        assert len(read(tracker, one).outputs.model_outputs) == 1


def test_mlflows_pages_learn_what_they_look_for(tracker: Tracker) -> None:
    client = MlflowClient(tracker.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    data = Data(name="ml-100k", digest="4" * 64, source="data/ml-100k")
    run = read(tracker, tracker.start_run("r", tags={"git_commit": "abc-dirty"}, data=data))
    tags = run.data.tags
    assert (tags["mlflow.source.type"], tags["mlflow.source.git.commit"]) == ("LOCAL", "abc")
    assert tags["mlflow.source.name"]
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("ml-100k", "4" * 12)
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]


def test_an_older_stores_experiment_learns_its_kind_and_keeps_its_own_description(tracker: Tracker) -> None:
    client = MlflowClient(tracker.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    client.delete_experiment_tag(experiment, "mlflow.experimentKind")
    client.set_experiment_tag(experiment, "mlflow.note.content", "Ours.")
    Tracker(tracker.uri)
    tags = client.get_experiment(experiment).tags
    assert (tags["mlflow.experimentKind"], tags["mlflow.note.content"]) == ("custom_model_development", "Ours.")


def test_a_store_in_a_folder_with_odd_signs_leaves_no_other_folder(
    tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "50% or so?"
    shutil.copytree(mlruns, home / "mlruns")
    monkeypatch.setenv("HRNN_HPO_HOME", str(home))
    before = set(tmp_path.iterdir())
    tracker = Tracker()
    assert read(tracker, tracker.start_run("study", tags={})).info.run_name == "study"
    assert (home / "mlruns" / "mlflow.db").is_file()
    assert set(tmp_path.iterdir()) == before


def test_the_ui_server_on_such_a_folder_leaves_no_other_one_either(
    tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "50%41 or so?"
    shutil.copytree(mlruns, home / "mlruns")
    monkeypatch.setenv("HRNN_HPO_HOME", str(home))
    before = set(tmp_path.iterdir())
    started = subprocess.Popen
    made: list[list[str]] = []

    def opens_the_store(command: list[str], **options: Any) -> Any:  # what the server does first, without a server
        made.append(command)
        store = command[command.index("--backend-store-uri") + 1]
        code = "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Store; "
        code += "print([one.name for one in Store(sys.argv[1], sys.argv[2]).search_experiments()])"
        artifacts = command[command.index("--artifacts-destination") + 1]
        return started([sys.executable, "-c", code, store, artifacts], **{**options, "stdout": output})

    with (tmp_path / "mlruns" / "output").open("w+") as output:
        monkeypatch.setattr(subprocess, "Popen", opens_the_store)
        with pytest.raises(RunFailedError, match=r"ended by itself \(exit code 0\)"):
            serve_ui(None, "127.0.0.1", free_port(), print)
        output.seek(0)
        assert EXPERIMENT in output.read()  # it is our store
    assert len(made) == 1
    assert set(tmp_path.iterdir()) == before

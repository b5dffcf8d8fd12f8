"""The study's database: transactions that workers can trust, patience with a database that is away, clear errors."""

import ast
import inspect
import sqlite3
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError, ProgrammingError

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, RunFailedError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.stores import require_apart, sqlite_file, storage_address, tracking_address, without_password
from hrnn_hpo.study.storage import retrying
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage, storage_label
from hrnn_hpo.study.storage.locks import holding, study_lock
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial
from hrnn_hpo.study.tune import tune


def test_the_embedded_database_is_absolute_and_in_mlruns(home: Path) -> None:
    assert storage_address() == f"sqlite:///{home}/optuna.db"
    open_storage(create=True)
    with sqlite3.connect(home / "optuna.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_relative_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_address("sqlite:///own.db") == f"sqlite:///{tmp_path}/own.db"
    assert sqlite_file("postgresql://user@host/db") is None
    assert storage_address("postgresql://user@host/db") == "postgresql+psycopg://user@host/db"


def test_the_environment_names_the_storage_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_STORAGE", "postgresql://user@host/db")
    assert storage_address() == "postgresql+psycopg://user@host/db"
    assert storage_address(f"sqlite:///{tmp_path}/own.db") == f"sqlite:///{tmp_path}/own.db"


def test_without_a_home_mlruns_is_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HRNN_HPO_HOME")
    monkeypatch.chdir(tmp_path)
    assert storage_address() == f"sqlite:///{tmp_path}/mlruns/optuna.db"


def test_reading_creates_no_database(home: Path) -> None:
    with pytest.raises(StudyError, match="no study storage"):
        open_storage()
    assert not home.exists()


def test_a_server_that_does_not_answer_is_a_run_failure_without_its_password() -> None:
    with pytest.raises(RunFailedError) as failed:
        open_storage("postgresql+nodriver://user:secret@localhost:1/db")
    assert "secret" not in str(failed.value)
    assert failed.value.exit_code == 1


def test_an_unknown_study_is_refused_with_the_nearest_name() -> None:
    storage = open_storage(create=True)
    create_study("movies", storage)
    with pytest.raises(StudyError, match="did you mean 'movies'"):
        load_study("movie", storage)
    assert "optuna.db" in storage_label(storage)


def test_a_waiting_trial_is_taken_by_one_worker_alone() -> None:
    storage = open_storage(create=True)
    study = create_study("s", storage)
    n_waiting, n_workers = 12, 4
    for value in range(n_waiting):
        study.enqueue_trial({"x": value})
    taken: list[int] = []
    gate = threading.Barrier(n_workers)

    def work() -> None:
        own = load_study("s", open_storage())
        gate.wait()
        for _ in range(n_waiting // n_workers):
            with pytest.warns(UserWarning, match="Heartbeat"):
                taken.append(own.ask().number)

    threads = [threading.Thread(target=work) for _ in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(n_waiting))


def test_a_trial_is_failed_by_one_process_alone() -> None:
    study = create_study("s", open_storage(create=True))
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    outcomes: list[str] = []
    gate = threading.Barrier(2)

    def fail() -> None:
        own = load_study("s", open_storage())
        gate.wait()
        try:
            own.tell(0, state=TrialState.FAIL)
            outcomes.append("failed")
        except (ValueError, optuna.exceptions.OptunaError):
            outcomes.append("too late")

    threads = [threading.Thread(target=fail) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["failed", "too late"]


class Flaky:
    """An operation that fails a few times."""

    def __init__(self, error: Exception, n_failures: int) -> None:
        self.error = error
        self.left = n_failures

    def __call__(self, *_: Any) -> str:
        if self.left > 0:
            self.left -= 1
            raise self.error
        return "done"


def away(kind: type[Exception] = OperationalError) -> StorageInternalError:
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = kind("select 1", {}, Exception("server closed the connection"))  # type: ignore[call-arg]
    return error


def test_an_operation_waits_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", pauses.append)
    assert retrying.retried(Flaky(away(), 7))() == "done"
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr(retrying.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(retrying.time, "sleep", lambda seconds: clock.update(now=clock["now"] + seconds))
    with pytest.raises(StorageInternalError):
        retrying.retried(Flaky(away(), 10**6))()
    assert 580 < clock["now"] <= 600


@pytest.mark.parametrize("error", [away(ProgrammingError), ValueError("no such trial"), KeyError("s")])
def test_what_was_asked_wrongly_is_not_asked_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = Flaky(error, 2)
    with pytest.raises(type(error)):
        retrying.retried(operation)()
    assert operation.left == 1


def test_every_operation_of_the_storage_is_patient() -> None:
    for name in (*optuna.storages.BaseStorage.__abstractmethods__, "get_trial", "record_heartbeat"):
        if name != "set_trial_state_values":
            assert getattr(retrying.RetryingStorage, name).__wrapped__ is getattr(RDBStorage, name)


def test_what_optunas_cache_calls_in_the_storage_is_patient_too() -> None:
    source = ast.parse(inspect.getsource(optuna.storages._CachedStorage))
    called = {
        node.attr
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "_backend"
    }
    assert "_get_trials" in called
    settings = {"get_heartbeat_interval", "get_heartbeat_stale_trial_callback", "set_trial_state_values"}
    for name in called - settings:
        assert hasattr(getattr(retrying.RetryingStorage, name), "__wrapped__"), name


def test_a_connection_that_is_lost_while_trials_are_read_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna takes that loss for a query with too many variables, and asks again in the session that is broken."""
    storage = open_storage(create=True)
    study = create_study("s", storage)
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.tell(study.ask(), 0.5)
    lost: list[str] = []

    @event.listens_for(storage.engine, "before_cursor_execute")
    def lose_the_first(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM trial_intermediate_values" in statement and not lost:
            lost.append(statement)
            connection.invalidate()
            raise OperationalError(statement, {}, Exception("server closed the connection"))

    monkeypatch.setattr(retrying.time, "sleep", lambda seconds: None)
    assert [trial.value for trial in storage.get_all_trials(study._study_id)] == [0.5]
    assert lost


def test_a_state_that_was_set_though_the_answer_got_lost_counts_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    study = create_study("s", open_storage(create=True))
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    real = RDBStorage.set_trial_state_values
    answers = [away()]

    def set_and_lose_the_answer(*args: Any) -> bool:
        done = real(*args)
        if answers:
            raise answers.pop()
        return done

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", set_and_lose_the_answer)
    monkeypatch.setattr(retrying.time, "sleep", lambda seconds: None)
    study.tell(0, 0.5)
    assert study.trials[0].value == 0.5
    with pytest.raises(ValueError, match="COMPLETE"):
        study.tell(0, 0.6)


def test_a_trial_is_queued_again_once_though_the_answer_got_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    study = create_study("s", open_storage(create=True))
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.tell(study.ask(), state=TrialState.FAIL)
    real = RDBStorage._create_new_trial
    answers = [away()]

    def create_and_lose_the_answer(*args: Any) -> Any:
        made = real(*args)
        if answers:
            raise answers.pop()
        return made

    monkeypatch.setattr(retrying.RetryingStorage, "_create_new_trial", retrying.retried(create_and_lose_the_answer))
    monkeypatch.setattr(retrying.time, "sleep", lambda seconds: None)
    retry_stale_trial(study, study.trials[0])
    assert answers == []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    retry_stale_trial(study, study.trials[0])  # by another process that notices the same
    assert len(study.trials) == 2
    study.enqueue_trial({"x": 1})
    study.enqueue_trial({"x": 1})  # what has no history may be wanted twice
    assert len(study.trials) == 4


def test_the_start_lock_is_held_by_one_process_until_it_is_given_back() -> None:
    storage = open_storage(create=True)
    first, second = study_lock("s", storage, "start"), study_lock("s", storage, "start")
    order: list[str] = []
    first.acquire()
    first.acquire()

    def wait() -> None:
        second.acquire()
        order.append("second")
        second.release()

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.2)
    order.append("first")
    first.release()
    waiting.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("odd", ["%41", "a?b", "a#b", "o'x", "[b]", "a b", "ü", "50%", "{0}", "{a", "a\nb"])
def test_any_folder_can_hold_the_stores(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / odd
    monkeypatch.setenv("HRNN_HPO_HOME", str(home))
    create_study("s", open_storage(create=True))
    assert (home / "mlruns" / "optuna.db").is_file()
    assert sqlite_file(storage_address()) == home / "mlruns" / "optuna.db"
    assert sqlite_file(tracking_address()) == home / "mlruns" / "mlflow.db"
    with holding("s", open_storage(), "start"):
        assert list((home / "mlruns" / "optuna.db.locks").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == [odd]


@pytest.mark.parametrize(
    ("storage", "tracking"),
    [
        ("sqlite:///{}/one.db", "sqlite:///{}/one.db"),
        ("sqlite:///{}/one.db", "sqlite:///{}/one.db?timeout=5"),
        ("postgresql://user:secret@host/db", "postgresql://user:secret@host/db"),
    ],
)
def test_one_database_for_both_stores_is_refused(storage: str, tracking: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be two databases") as error:
        require_apart(storage_address(storage.format(tmp_path)), tracking_address(tracking.format(tmp_path)))
    assert "secret" not in str(error.value)


@pytest.mark.usefixtures("home")
def test_a_study_with_one_database_for_both_is_refused_before_anything_is_written(
    log: Dataset, space: SearchSpace, tmp_path: Path
) -> None:
    both = f"sqlite:///{tmp_path}/both.db"
    with pytest.raises(ConfigError, match="must be two databases"):
        tune(log, study="s", space=space, storage=both, tracking_uri=both)
    assert not (tmp_path / "both.db").exists()


@pytest.mark.parametrize("address", ["nonsense", "optuna.db"])
def test_an_address_that_is_none_is_wrong_usage(address: str) -> None:
    with pytest.raises(ConfigError, match=r"--storage must be an address such as sqlite:///optuna\.db, but"):
        open_storage(address, create=True)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:secret@host:5000", "http://me:***@host:5000"),
        ("postgresql://me:se:cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se@cret@host/db", "postgresql://me:***@host/db"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert without_password(address) == shown

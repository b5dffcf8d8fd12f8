"""A study on a real PostgreSQL server, which goes away for a while and comes back."""

import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from real_studies import check_whole, finish, running_trial, start, start_program, study, wait_for, write_project
from servers import PostgresServer, postgres_binaries, running_postgres, skip_without
from sqlalchemy import text

from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.study.attributes import WORKER
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.storage.database import create_study, open_storage, storage_label
from hrnn_hpo.study.storage.locks import Purpose, holding, study_lock

AWAY_SECONDS = 20

BINARIES = postgres_binaries()
pytestmark = [pytest.mark.slow, skip_without(BINARIES, "PostgreSQL (initdb, pg_ctl)")]


server = pytest.fixture(running_postgres)


def test_two_workers_outlast_a_server_that_is_away(
    server: PostgresServer, tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_project(tmp_path, epochs=32)  # so long that all three are at work before the trials are done
    n_trials = 7
    tune = start("--n-trials", str(n_trials), "--storage", server.url)
    running_trial(tune, 1, server.url)
    workers = [
        start_program("worker", "s", "--data", "log", "--storage", server.url, "--threads", "1", "--device", "cpu")
        for _ in range(2)
    ]
    started = study(server.url)
    wait_for(lambda: len(pids_at_work(started)) == 3, tune, *workers)
    server.stop()
    time.sleep(AWAY_SECONDS)
    assert [process.poll() for process in (tune, *workers)] == [None] * 3
    server.start()
    result = finish(tune)
    assert result["trials"]["complete"] == n_trials
    assert "secret" not in result["storage"]
    for worker in workers:
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        assert "waiting for it" in err
        assert "Worker ended: all trials are done." in err
    check_whole(n_trials, server.url)
    # Nobody was taken for dead: each trial ran once, in one of the three processes.
    assert len(started.trials) == n_trials
    assert {trial.user_attrs[WORKER]["pid"] for trial in started.trials} == {tune.pid, *(w.pid for w in workers)}


def test_workers_confirm_on_the_server(
    server: PostgresServer, tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path, epochs=3)
    options = ["--n-trials", "3", "--workers", "2", "--confirm", "1", "--confirm-seeds", "2"]
    result = finish(start(*options, "--storage", server.url))
    assert result["confirmation"]["n_seeds"] == 2
    companion = companion_of(study(server.url), open_storage(server.url))
    assert companion is not None
    assert [run.state.name for run in companion.trials] == ["COMPLETE"] * 4
    assert len({run.user_attrs[WORKER]["pid"] for run in companion.trials}) == 2
    check_whole(3, server.url)


def pids_at_work(started: optuna.Study) -> set[int]:
    return {
        trial.user_attrs[WORKER]["pid"]
        for trial in started.get_trials(deepcopy=False)
        if WORKER in trial.user_attrs and not trial.state.is_finished()
    }


def test_the_start_lock_of_a_server_is_held_by_one_and_ends_with_its_connection(server: PostgresServer) -> None:
    storage, elsewhere = open_storage(server.url), open_storage(server.url)
    create_study("s", storage)
    assert "secret" not in storage_label(storage)
    mine, theirs = study_lock("s", storage, "start"), study_lock("s", elsewhere, "start")
    mine.acquire()
    assert held(storage) == 1
    mine.release()
    theirs.acquire()
    server.stop()
    server.start()
    mine.acquire()  # its holder's connection is gone
    theirs.release()
    wait_for(lambda: held(elsewhere) == 1, seconds=10)  # the server notices a closed connection a moment later
    mine.release()
    wait_for(lambda: held(elsewhere) == 0, seconds=10)


@pytest.mark.parametrize("purpose", ["begin", "compare", "test"])
def test_what_one_command_alone_may_do_waits_on_every_machine(
    server: PostgresServer, purpose: Purpose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands with folders of their own, as on two machines, would otherwise queue a confirmation twice."""
    here, there = open_storage(server.url), open_storage(server.url)
    order: list[str] = []

    def elsewhere() -> None:
        with holding("s", there, purpose):
            order.append("there")

    with holding("s", here, purpose):
        monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path / "another-machine"))
        waiting = threading.Thread(target=elsewhere)
        waiting.start()
        waiting.join(0.5)
        with holding("another study", there, purpose):  # which has locks of its own
            order.append("here")
    waiting.join()
    assert order == ["here", "there"]
    wait_for(lambda: held(here) == 0, seconds=10)  # the server notices a closed connection a moment later


def held(storage: RDBStorage) -> int:
    with storage.engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")))


def test_a_wrong_password_is_an_error_that_does_not_show_it(server: PostgresServer) -> None:
    with pytest.raises(RunFailedError, match="password authentication failed") as failed:
        open_storage(server.url.replace("secret", "guess"))
    assert "guess" not in str(failed.value)

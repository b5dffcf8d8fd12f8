"""Figures by user, the pruners that read them, pruned trials that go on, and priors, on a real PostgreSQL server."""

import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from servers import PostgresServer, postgres_binaries, running_postgres, skip_without
from sqlalchemy import create_engine, event, text
from study_fakes import Helpers, user_scores

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.stores import storage_address
from hrnn_hpo.study.attributes import PROPOSED_BY, TAKEN_UP, epochs_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.results.manage import clean_up, delete_study
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial
from hrnn_hpo.study.storage.user_figures import MOST_BYTES, UserFigures, create_table, studies_with_figures
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

BINARIES = postgres_binaries()
pytestmark = [pytest.mark.slow, skip_without(BINARIES, "PostgreSQL (initdb, pg_ctl)")]
TABLE = "hrnn_hpo_user_figures"


server = pytest.fixture(scope="module")(running_postgres)


@pytest.fixture
def url(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a database of the test's own, which every command without --storage uses."""
    name = f"test_{zlib.crc32(str(tmp_path).encode()):08x}"
    do(server.url, f"CREATE DATABASE {name}")
    own = server.url.replace("/postgres", f"/{name}")
    monkeypatch.setenv("HRNN_HPO_STORAGE", own)
    return own


def do(url: str, *statements: str) -> None:
    options = {"client_encoding": "utf8"}  # as the product has it, for servers in SQL_ASCII
    engine = create_engine(storage_address(url), isolation_level="AUTOCOMMIT", connect_args=options)
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def at_once(n: int, work: Callable[[int], None]) -> list[BaseException]:
    """Do something in n threads in the same moment; return what they raised."""
    gate, failed = threading.Barrier(n), []

    def one(number: int) -> None:
        gate.wait()
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def test_workers_that_come_at_once_create_the_table_once(url: str) -> None:
    storages = [open_storage(url) for _ in range(6)]
    assert at_once(6, lambda number: create_table(storages[number])) == []
    assert studies_with_figures(storages[0]) == []


def test_figures_of_any_size_and_kind_are_read_as_they_were_written(url: str) -> None:
    storage = open_storage(url)
    create_table(storage)
    figures = UserFigures(storage, "uid", "s", max_epochs=1)
    many = np.random.default_rng(0).random(MOST_BYTES // 2)  # as many users as are kept, which no packing makes small
    figures.write(0, 1, many)
    np.testing.assert_allclose(figures.read(0, 1), many, atol=5e-4)
    figures.write(1, 1, np.array([np.nan, 0.25, 1e6]))
    np.testing.assert_array_equal(figures.read(1, 1), [np.nan, 0.25, 999_936.0])  # 1e6 in the digits of a float16


def test_two_that_write_one_epoch_at_once_both_go_on(url: str) -> None:
    """A worker that was taken for dead, and the one that has its trial now, write the same figures."""
    storage, elsewhere = open_storage(url), open_storage(url)
    create_table(storage)
    mine, theirs = (UserFigures(one, "uid", "s", 4) for one in (storage, elsewhere))
    others: list[str] = []

    @event.listens_for(storage.engine, "before_cursor_execute")
    def write_elsewhere_first(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO " + TABLE) and not others:
            others.append(statement)
            theirs.write(0, 1, np.full(3, 0.5))

    mine.write(0, 1, np.full(3, 0.5))
    assert others
    np.testing.assert_array_equal(mine.read(0, 1), np.full(3, 0.5))


def test_a_server_that_is_away_is_waited_for(url: str, server: PostgresServer) -> None:
    storage = open_storage(url)
    create_table(storage)
    figures = UserFigures(storage, "uid", "s", 4)
    figures.write(0, 1, np.ones(3))
    server.stop()
    back = threading.Timer(1.0, server.start)
    back.start()
    try:
        figures.write(0, 2, np.zeros(3))
        assert figures.read(0, 1) is not None
        assert figures.read(0, 2) is not None
    finally:
        back.join()


def test_who_may_not_create_tables_is_told_so(url: str, server: PostgresServer) -> None:
    owner = open_storage(url)
    rights = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"
    usage = "GRANT USAGE ON SCHEMA public TO guest"
    do(url, "CREATE ROLE guest LOGIN PASSWORD 'secret'", usage, f"GRANT {rights} TO guest")
    guests = open_storage(url.replace("//hrnn:", "//guest:"))
    try:
        with pytest.raises(RunFailedError, match=rf"{TABLE}, .*permission denied.* Let whoever may create tables"):
            create_table(guests)
        create_table(owner)
        create_table(guests)  # there is nothing left to create
    finally:
        guests.engine.dispose()


def test_two_processes_that_notice_one_dead_worker_queue_its_trial_once(url: str) -> None:
    study = create_study("s", open_storage(url))
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.tell(study.ask(), state=TrialState.FAIL)
    own = [load_study("s", open_storage(url)) for _ in range(4)]
    assert at_once(4, lambda number: retry_stale_trial(own[number], own[number].get_trials()[0])) == []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


PRIORS = """# A space for tests.
parameters:
  hidden_dimension: {kind: algorithm, type: integer, range: [8, 512], log: true, default: 256, prior: {center: 40}}
  learning_rate:
    kind: training
    type: continuous
    range: [0.0001, 0.1]
    log: true
    default: 0.0001
    prior: {center: 0.01, width: 0.1}
fix: {epochs: 4, bptt: 16}
"""


@pytest.fixture
def with_priors(tmp_path: Path) -> SearchSpace:
    (tmp_path / "priors.yaml").write_text(PRIORS, encoding="utf-8")
    return load_space(tmp_path / "priors.yaml")


def table(name: str, storage: RDBStorage) -> list[tuple[Any, ...]]:
    return [
        (trial.params, trial.state, trial.intermediate_values, trial.user_attrs.get(PROPOSED_BY))
        for trial in last_attempts(load_study(name, storage))
    ]


@pytest.mark.usefixtures("tracker")
# Threads that open storages at once take each other's list of warnings away.
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("pruner", [{"pruner": "paired"}, {"pruner": "epochs:2", "keep": 3}])
def test_four_workers_on_a_server_make_the_table_of_one_on_a_file(
    log: Dataset,
    with_priors: SearchSpace,
    fake_experiment: Any,
    url: str,
    tmp_path: Path,
    pruner: dict[str, Any],
) -> None:
    asked: dict[str, Any] = {"space": with_priors, "n_trials": 12, "confirm": 0, "seed": 3, "deterministic": True}
    file = f"sqlite:///{tmp_path}/own.db"
    tune(log, study="one", storage=file, **asked, **pruner)
    helpers = Helpers(log)
    fake_experiment.before_epoch = lambda run, epoch: time.sleep(0.02)
    tune(log, study="four", observer=helpers, **asked, **pruner)
    for thread in helpers.threads:
        thread.join()
    storage = open_storage(url)
    found = load_study("four", storage)
    assert table("four", storage) == table("one", open_storage(file))
    assert {source for *_, source in table("four", storage)} >= {"prior", "sampler"}
    assert {trial.state for trial in last_attempts(found)} == {TrialState.COMPLETE, TrialState.PRUNED}
    figures = UserFigures(storage, read_record(found).uid, "four", 4)
    for place, trial in enumerate(last_attempts(found)):
        for epoch, told in epochs_of(trial).items():
            kept = figures.read(place, epoch)
            np.testing.assert_allclose(kept, user_scores(told["metrics"]["ndcg_at_10"]), atol=1e-3)
            assert told["standard_error"] > 0
    assert any(TAKEN_UP in trial.user_attrs for trial in found.trials) == ("keep" in pruner)
    clean_up()
    assert len(studies_with_figures(storage)) == 1
    delete_study("four")
    assert studies_with_figures(storage) == []

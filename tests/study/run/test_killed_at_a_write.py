"""A process killed at any of its writes to the storage: the same command goes on to the same trials and verdict."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from study_fakes import KilledError

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.run.recovery import this_worker
from hrnn_hpo.study.seeds import ordinals
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts, read_confirmation
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_figures")


class _Writes:
    """Counts this thread's commits that wrote something; at number `last` of them the process is dead."""

    def __init__(self, last: int | None) -> None:
        self.n, self._last, self.dead = 0, last, False
        self._connections: set[Any] = set()

    def executed(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("SELECT", "PRAGMA", "BEGIN")):
            connection.info["wrote"] = True

    def began(self, connection: Any) -> None:
        connection.info["wrote"] = False
        if _main():
            self._connections.add(connection.connection.dbapi_connection)
            if self.dead:  # it would not read either
                raise KilledError

    def committed(self, connection: Any) -> None:
        if connection.info.pop("wrote", False) and _main():
            self.n += 1
            if self.n == self._last:
                self.dead = True
                raise KilledError

    def end(self) -> None:
        """Let go of what is begun and not committed, as a database does when a process ends."""
        for connection in self._connections:
            with suppress(sqlite3.ProgrammingError):  # closed
                connection.rollback()


def _main() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def watched(last: int | None = None) -> Iterator[_Writes]:
    writes = _Writes(last)
    listeners = {"before_cursor_execute": writes.executed, "begin": writes.began, "commit": writes.committed}
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield writes
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)
        writes.end()


def found(name: str) -> tuple[Any, ...]:
    """Return what a study came to: its trials by their places, which retries share, and the verdict on them."""
    study = load_study(name, open_storage())
    last = last_attempts(study)
    place = ordinals(study.get_trials(deepcopy=False))
    verdict = read_confirmation(study)
    trials = [(trial.state.name, trial.params, trial.values, epochs_of(trial).keys()) for trial in last]
    told = verdict and (verdict.verdict, [(place[one.trial], one.scores) for one in verdict.contenders])
    return trials, told


ASKED: dict[str, Any] = {"n_trials": 2, "confirm": 1, "confirm_seeds": 2, "screen": 0, "seed": 3}
EVERY = 41  # of some 140 writes the first, the 42nd, …; a step of 1 looks at all of them


@pytest.mark.slow
def test_a_study_comes_to_the_same_end_whichever_write_its_process_was_killed_at(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched() as writes:
        tune(log, study="whole", space=space, **ASKED)
    whole = found("whole")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone = {**this_worker(), "pid": process.pid}
    monkeypatch.setattr("hrnn_hpo.study.run.recovery.UNCLAIMED_SECONDS", 0)
    for last in range(1, writes.n + 1, EVERY):
        name = f"killed at write {last}"
        with monkeypatch.context() as patch:
            patch.setattr("hrnn_hpo.study.run.trial.this_worker", lambda: gone)
            with watched(last), pytest.raises(KilledError):
                tune(log, study=name, space=space, **ASKED)
        tune(log, study=name, space=space, **ASKED)
        assert found(name) == whole, name

"""The lock to start a trial: one process at a time, on one machine by a file, on many by PostgreSQL.

It is held from counting the trials to drawing the next one's parameters, so that no two processes start one trial too
many or draw the same one.
"""

import contextlib
import time
import zlib
from typing import Any, Protocol

from filelock import FileLock
from optuna.storages import RDBStorage

from hrnn_hpo.stores import study_folder
from hrnn_hpo.study.storage.retrying import retried

POLL_SECONDS = 0.1
# The server asks a silent holder's machine after 30 s and takes the lock from one that does not answer for 30 more.
_KEEPALIVE = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")


class StartLock(Protocol):
    """A lock that a process may acquire again while it holds it; `release` gives it back whole."""

    def acquire(self) -> None: ...
    def release(self) -> None: ...


def start_lock_of(study: str, storage: RDBStorage) -> StartLock:
    """Return the start lock of a study: PostgreSQL's where that is the storage, this machine's otherwise."""
    if storage.engine.dialect.name == "postgresql":
        return _DatabaseLock(study, storage)
    return _FileLock(study)


class _FileLock:
    def __init__(self, study: str) -> None:
        self._file = study_folder(study) / "next-trial.lock"
        self._lock = FileLock(self._file)

    def acquire(self) -> None:
        if not self._lock.is_locked:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()

    def release(self) -> None:
        self._lock.release(force=True)


class _DatabaseLock:
    """An advisory lock of a connection of its own: it ends with the connection, however the holder dies."""

    def __init__(self, study: str, storage: RDBStorage) -> None:
        self._engine = storage.engine
        self._key = zlib.crc32(f"hrnn-hpo {study}".encode())
        self._connection: Any = None

    def acquire(self) -> None:
        if self._connection is None:
            self._connection = retried(self._take)()

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # the server may be away, and the lock with it
                connection.invalidate()
                connection.close()

    def _take(self) -> Any:
        from sqlalchemy import text

        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            for setting in _KEEPALIVE:
                connection.execute(text(f"SET {setting}"))
            while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}):
                time.sleep(POLL_SECONDS)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection

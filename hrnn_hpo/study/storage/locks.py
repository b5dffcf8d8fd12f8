"""Locks of a study, held by one process at a time: on one machine by a file, on many by PostgreSQL.

The lock to *start* a trial is held from counting the trials to drawing the next one's parameters, so that no two
processes start one trial too many or draw the same one. Others guard what one command alone may do: begin a study and
queue a confirmation, compare a part of the users, open the test users.
"""

import contextlib
import hashlib
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from filelock import FileLock
from optuna.storages import RDBStorage

from hrnn_hpo.stores import mlruns_folder
from hrnn_hpo.study.storage.retrying import retried

POLL_SECONDS = 0.1
# The server asks a silent holder's machine after 30 s and takes the lock from one that does not answer for 30 more.
_KEEPALIVE = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
Purpose = Literal["start", "begin", "compare", "test"]


class StudyLock(Protocol):
    """A lock that a process may acquire again while it holds it; `release` gives it back whole."""

    def acquire(self) -> None: ...
    def release(self) -> None: ...


def study_lock(study: str, storage: RDBStorage, purpose: Purpose) -> StudyLock:
    """Return a lock of a study: PostgreSQL's where that is the storage, a file beside the database otherwise."""
    if storage.engine.dialect.name == "postgresql":
        return _DatabaseLock(f"hrnn-hpo {purpose} {study}", storage)
    return _FileLock(_lock_file(study, storage, purpose))


@contextlib.contextmanager
def holding(study: str, storage: RDBStorage, purpose: Purpose) -> Iterator[None]:
    """Hold a lock of a study for the length of a block."""
    lock = study_lock(study, storage, purpose)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock_file(study: str, storage: RDBStorage, purpose: Purpose) -> Path:
    """Return the lock's file. All who share a database share it, whatever their working folders are."""
    url = storage.engine.url
    is_file = storage.engine.dialect.name == "sqlite" and url.database not in (None, "", ":memory:")
    folder = Path(f"{url.database}.locks") if is_file else mlruns_folder() / "locks"
    return folder / f"{hashlib.sha256(study.encode()).hexdigest()[:16]}-{purpose}.lock"


class _FileLock:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = FileLock(file)

    def acquire(self) -> None:
        if not self._lock.is_locked:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()

    def release(self) -> None:
        self._lock.release(force=True)


class _DatabaseLock:
    """An advisory lock of a connection of its own: it ends with the connection, however the holder dies."""

    def __init__(self, name: str, storage: RDBStorage) -> None:
        self._engine = storage.engine
        self._key = zlib.crc32(name.encode())
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

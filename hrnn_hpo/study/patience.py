"""A storage that waits: a database that is away for a minute, or a disk that is full, costs time and no trial."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage

PATIENCE_SECONDS = 600.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
_log = logging.getLogger(__name__)


class PatientStorage(RDBStorage):
    """Optuna's database storage, every operation tried again while the database cannot be reached or written."""


def patient(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operation, tried again while the database is away, locked or out of space."""

    @functools.wraps(operation)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return operation(*args, **kwargs)
            except Exception as error:
                if not _may_pass(error) or time.monotonic() + pause > give_up_at:
                    raise
                _log.warning("The study's storage does not answer (%s); waiting.", error.__cause__ or error)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    return wrapper


def _may_pass(error: BaseException) -> bool:
    """Return whether a failure is the database's state (away, locked, disk full) rather than what was asked."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError | InterfaceError)


# What Optuna calls on a storage, heartbeats included.
for _name in sorted(BaseStorage.__abstractmethods__ | {"record_heartbeat", "get_trial"}):
    setattr(PatientStorage, _name, patient(getattr(RDBStorage, _name)))

"""A storage that waits: a database that is away for a minute, or a disk that is full, costs time and no trial."""

import functools
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

GIVE_UP_SECONDS = 600.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
_log = logging.getLogger(__name__)


class RetryingStorage(RDBStorage):
    """Optuna's database storage, every operation tried again while the database cannot be reached or written."""

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's state; one that was set already, in a commit whose answer was lost, counts as set."""
        attempts = 0

        def set_state() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return super(RetryingStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts == 1 or self.get_trial(trial_id).state != state:
                    raise
                return True

        return bool(retried(set_state)())

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Any) -> Any:
        """Return the row of a new trial, or the one that there is where a trial is queued again a second time.

        That happens when the commit went through while its answer was lost, and when two processes notice one dead
        worker: two trials of one history would train the same at once. The study's row is locked meanwhile.
        """
        if template_trial is not None and template_trial.state == TrialState.WAITING:
            history = template_trial.system_attrs.get("retry_history")
            attribute = models.TrialSystemAttributeModel
            there = (
                None
                if history is None
                else session.query(models.TrialModel)
                .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
                .filter(models.TrialModel.study_id == study_id)
                .filter(attribute.key == "retry_history", attribute.value_json == json.dumps(history))
                .first()
            )
            if there is not None:
                return there
        return super()._get_prepared_new_trial(study_id, template_trial, session)


def retried(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operation, tried again while the database is away, locked or out of space."""

    @functools.wraps(operation)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return operation(*args, **kwargs)
            except Exception as error:
                if not _may_pass(error) or time.monotonic() + pause > give_up_at:
                    raise
                if pause == FIRST_PAUSE_SECONDS:
                    reason = str(error.__cause__ or error).strip().splitlines()[0]
                    _log.warning("The study's storage does not answer (%s); waiting for it.", reason)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    return wrapper


def _may_pass(error: BaseException) -> bool:
    """Return whether a failure is the database's state (away, locked, disk full) rather than what was asked.

    PendingRollbackError is what a session says that has lost its connection and is asked again.
    """
    from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError)


# What Optuna calls on a storage, heartbeats included, and what its cache in front of the storage calls instead.
_OPERATIONS = BaseStorage.__abstractmethods__ | {"record_heartbeat", "get_trial"}
_BEHIND_THE_CACHE = {
    *("_create_new_trial", "_get_best_trial_id", "_get_stale_trial_ids", "_get_trials", "_set_trial_param"),
    "get_trial_id_from_study_id_trial_number",
}
for _name in sorted((_OPERATIONS | _BEHIND_THE_CACHE) - vars(RetryingStorage).keys()):
    setattr(RetryingStorage, _name, retried(getattr(RDBStorage, _name)))

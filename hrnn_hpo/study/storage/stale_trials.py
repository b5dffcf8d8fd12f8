"""Trials whose worker is gone, as the storage sees them: when a heartbeat is too old, and how a trial is queued again.

Noticing a dead process at once is run/recovery.py's work.
"""

from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.attributes import FAILURE, STARTS, WORKER, epochs_of
from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.trials import was_stopped

HEARTBEAT_SECONDS = 15
# A database that is away for two minutes keeps every worker's heartbeat from being written: nobody is dead for that.
GRACE_SECONDS = 180
MAX_STARTS_WITHOUT_PROGRESS = 3


def retry_stale_trial(study: Study, trial: FrozenTrial) -> None:
    """Queue a failed trial again, with its parameters, epochs and attributes.

    Not so a trial whose last three starts brought no epoch: it is probably what kills its workers.
    """
    if _gets_nowhere(trial):
        return
    for name in (WORKER, FAILURE):
        trial.user_attrs.pop(name, None)
    with experimental_allowed():
        RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)


def is_lost(trial: FrozenTrial) -> bool:
    """Return whether a trial was stopped or lost its worker and has yet to be queued again: it has not failed."""
    return was_stopped(trial) and not _gets_nowhere(trial)


def _gets_nowhere(trial: FrozenTrial) -> bool:
    starts = trial.user_attrs.get(STARTS, [])[-MAX_STARTS_WITHOUT_PROGRESS:]
    return len(starts) == MAX_STARTS_WITHOUT_PROGRESS and set(starts) == {len(epochs_of(trial))}

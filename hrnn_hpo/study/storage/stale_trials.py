"""Trials whose worker is gone, as the storage sees them: when a heartbeat is too old, and how a trial is queued again.

Noticing a dead process at once is run/recovery.py's work.
"""

from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.attributes import FAILURE, STARTS, WORKER, epochs_of
from hrnn_hpo.study.optuna_quiet import experimental_allowed

HEARTBEAT_SECONDS = 15
# A database that is away for two minutes keeps every worker's heartbeat from being written: nobody is dead for that.
GRACE_SECONDS = 180
MAX_STARTS_WITHOUT_PROGRESS = 3


def retry_stale_trial(study: Study, trial: FrozenTrial) -> None:
    """Queue a failed trial again, with its parameters, epochs and attributes.

    Not so a trial whose last three starts brought no epoch: it is probably what kills its workers.
    """
    starts = trial.user_attrs.get(STARTS, [])[-MAX_STARTS_WITHOUT_PROGRESS:]
    if len(starts) == MAX_STARTS_WITHOUT_PROGRESS and set(starts) == {len(epochs_of(trial))}:
        return
    for name in (WORKER, FAILURE):
        trial.user_attrs.pop(name, None)
    with experimental_allowed():
        RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)

"""Trials whose worker is gone, as the storage sees them: when a heartbeat is too old, and how a trial is queued again.

To mark a trial FAIL and to queue it again are two writes, and a process may die between them. So whether a failed trial
is still to be queued can be told from the storage alone, and any process does what another one left undone. Noticing
a dead process at once is run/recovery.py's work.
"""

import copy

from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import ADVANCE, CONFIGURATION, FAILURE, STARTS, WITHDRAWN, WORKER, epochs_of
from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.trials import last_attempts

HEARTBEAT_SECONDS = 15
# A database that is away for two minutes keeps every worker's heartbeat from being written: nobody is dead for that.
GRACE_SECONDS = 180
MAX_STARTS_WITHOUT_PROGRESS = 3


def retry_stale_trial(study: Study, trial: FrozenTrial) -> None:
    """Queue a failed trial again, with its parameters, epochs and attributes; nothing happens where it was already.

    Not so a trial whose last three starts brought no epoch, and got no further inside one: it is probably what kills
    its workers. Where only a part of the parameters was drawn, all are drawn anew, from the same seed.
    """
    if _gets_nowhere(trial):
        return
    trial = copy.deepcopy(trial)  # whoever tells how this attempt ended reads it afterwards
    if trial.state != TrialState.PRUNED and CONFIGURATION not in trial.user_attrs:  # what was pruned has drawn all
        trial.params, trial.distributions = {}, {}
    trial.user_attrs[STARTS] = _starts_that_count(trial)
    for name in (WORKER, FAILURE):
        trial.user_attrs.pop(name, None)
    with experimental_allowed():
        RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)


def retry_lost_trials(study: Study) -> None:
    """Queue every trial again that was stopped or lost its worker and whose process died before it could do so."""
    if not any(is_lost(trial) for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))):
        return
    for trial in last_attempts(study):
        if is_lost(trial):
            retry_stale_trial(study, trial)


def is_lost(trial: FrozenTrial) -> bool:
    """Return whether a study's last attempt at a trial was stopped, or lost its worker: it has yet to be queued again.

    What failed for a reason of its own has a traceback; what was withdrawn is not to go on.
    """
    stopped_or_dead = "traceback" not in trial.user_attrs.get(FAILURE, {}) and WITHDRAWN not in trial.user_attrs
    return trial.state == TrialState.FAIL and stopped_or_dead and not _gets_nowhere(trial)


def _starts_that_count(trial: FrozenTrial) -> list[int]:
    """Return the epochs done at each start; being stopped does not count as a start that brought nothing."""
    starts: list[int] = trial.user_attrs.get(STARTS, [])
    return starts[:-1] if FAILURE in trial.user_attrs else starts


def _gets_nowhere(trial: FrozenTrial) -> bool:
    n_advanced = trial.user_attrs.get(ADVANCE, {}).get("n_starts", 0)
    starts = _starts_that_count(trial)[n_advanced:][-MAX_STARTS_WITHOUT_PROGRESS:]
    return len(starts) == MAX_STARTS_WITHOUT_PROGRESS and set(starts) == {len(epochs_of(trial))}

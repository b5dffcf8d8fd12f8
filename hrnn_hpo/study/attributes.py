"""The attributes that a study and its trials carry in Optuna's storage: names in one place, and an epoch's figures.

Together they are enough to rebuild everything that MLflow shows of a study.
"""

from typing import Any

from optuna.trial import FrozenTrial

ROLE = "role"  # "defaults", "enqueued", "screening", "confirmation"; absent where a sampler proposed the trial
CONFIGURATION = "configuration"  # Configuration as plain values; with best_epoch and n_threads once complete
SUMMARY = "summary"  # best epoch, its metrics and their objective's standard error, model size, seconds
FAILURE = "failure"  # reason and traceback
TAKEN_UP = "taken_up"  # epochs that a pruned trial had when it was taken up again: this attempt goes on from there
RUN = "mlflow_run"
COMMIT = "git_commit"
WORKER = "worker"  # who runs it
PROPOSED_BY = "proposed_by"  # "prior", "incumbent" or "sampler"; in studies whose space has priors
STARTS = "starts"  # epochs done at each start: a retry goes on from its checkpoint
ADVANCE = "advance"  # in the midst of an epoch: "furthest", [epochs done, targets since]; "n_starts" that it took
# Of the runs of a confirmation and of its screening, and of the study that they confirm.
CANDIDATE = "candidate"  # the trial that is trained again
RUN_INDEX = "repeat"  # which of its runs, from 0
TRAIN_SEED = "train_seed"  # of the run's split
WITHDRAWN = "withdrawn"  # of a run that was queued, and called off before it began
FIGURES = "figures"  # the validation users' figures, as text
CONFIRMS, CONFIRMS_UID = "confirms", "confirms_uid"  # in a confirmation's study: name and uid of the one it confirms
WIDENS = "widens"  # in the copy of a study that is to take its place in a wider space: the study's name
CONFIRMATION = "confirmation"  # what a confirmation found
STOP_KEY = "stop_requested"  # by `studies stop`
_EPOCH = "epoch_"


def epoch_key(epoch: int) -> str:
    """Return the name of the attribute that holds an epoch's figures."""
    return f"{_EPOCH}{epoch:04d}"


def epochs_of(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """Return the recorded epochs of a trial, {epoch from 1: metrics, train_loss, seconds, …}, in order."""
    found = {int(key[len(_EPOCH) :]): value for key, value in trial.user_attrs.items() if key.startswith(_EPOCH)}
    return dict(sorted(found.items()))


def standard_error_of(trial: FrozenTrial) -> float | None:
    """Return the standard error of a trial's score over its validation users; None where none was recorded.

    A complete trial's score is that of its best epoch, a pruned one's that of its last.
    """
    if SUMMARY in trial.user_attrs:
        found = trial.user_attrs[SUMMARY].get("standard_error")
    else:
        epochs = epochs_of(trial)
        found = epochs[max(epochs)].get("standard_error") if epochs else None
    return None if found is None else float(found)

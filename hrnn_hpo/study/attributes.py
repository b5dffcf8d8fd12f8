"""The attributes that a trial carries in Optuna's storage: names in one place, and how to read them.

Together they are enough to rebuild everything that MLflow shows of a study.
"""

from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.objectives import leading
from hrnn_hpo.study.samplers import original_number
from hrnn_hpo.study.verdict import Confirmation, confirmation_from

ROLE = "role"  # "defaults", "enqueued", "confirmation"; absent where a sampler proposed the trial
CONFIGURATION = "configuration"  # Configuration as plain values; with best_epoch and n_threads once complete
SUMMARY = "summary"  # best epoch, its metrics, model size, seconds
FAILURE = "failure"  # reason and traceback
RUN = "mlflow_run"
COMMIT = "git_commit"
WORKER = "worker"  # who runs it
STARTS = "starts"  # epochs done at each start: a retry goes on from its checkpoint
# Of a confirmation's runs, and of the study that they confirm.
CANDIDATE, REPEAT, TRAIN_SEED = "candidate", "repeat", "train_seed"  # trial that is confirmed, run from 0, split's seed
FIGURES = "figures"  # the validation users' figures, packed
CONFIRMATION = "confirmation"
_EPOCH = "epoch_"


def epoch_key(epoch: int) -> str:
    """Return the name of the attribute that holds an epoch's figures."""
    return f"{_EPOCH}{epoch:04d}"


def epochs_of(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """Return the recorded epochs of a trial, {epoch from 1: metrics, train_loss, seconds, …}, in order."""
    found = {int(key[len(_EPOCH) :]): value for key, value in trial.user_attrs.items() if key.startswith(_EPOCH)}
    return dict(sorted(found.items()))


def best_trial(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the best value, the earliest of equals; None where none is complete."""
    return next(iter(best_trials(trials)), None)


def best_trials(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete trials, best value first; of equals the earlier one."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))


def winner_trial(study: Study) -> FrozenTrial | None:
    """Return the trial that a study stands for: the confirmed winner, the best of the search before there is one."""
    trials = last_attempts(study)
    confirmation = read_confirmation(study)
    if confirmation is None:
        return best_trial(trials)
    return next(trial for trial in trials if trial.number == confirmation.winner)


def read_confirmation(study: Study) -> Confirmation | None:
    """Return what the newest finished confirmation of a study found."""
    content = study.user_attrs.get(CONFIRMATION)
    return confirmation_from(content) if content else None


def defaults_trial(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the newest trial that runs the defaults: the original, or the last retry of it."""
    return next((trial for trial in reversed(trials) if trial.user_attrs.get(ROLE) == "defaults"), None)


def last_attempts(study: Study) -> list[FrozenTrial]:
    """Return the trials of a study without those that were retried: the table that a reader wants.

    Of several objectives, `value` is the first one's.
    """
    last = {original_number(trial): leading(trial) for trial in study.get_trials(deepcopy=False)}
    return [last[number] for number in sorted(last)]

"""A trial's place in its study, retries left out, and the seeds that follow from it."""

import numpy as np
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.optuna_quiet import experimental_allowed

CONFIRMATION_STREAM = 2  # of trial_seed: trains the models of a confirmation's runs


def ordinal(study: Study, trial: FrozenTrial) -> int:
    """Return a trial's number with retries left out of the count; a retry has its original's."""
    number = original_number(trial)
    return number - sum(
        other.number < number and original_number(other) != other.number for other in study.get_trials(deepcopy=False)
    )


def ordinals(trials: list[FrozenTrial]) -> dict[int, int]:
    """Return each trial's number with retries left out of the count."""
    originals = sorted({original_number(trial) for trial in trials})
    place = {number: index for index, number in enumerate(originals)}
    return {trial.number: place[original_number(trial)] for trial in trials}


def original_number(trial: FrozenTrial) -> int:
    """Return the number of the trial that this one retries, its own where it is no retry."""
    with experimental_allowed():
        retried = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if retried is None else retried


def trial_seed(study_seed: int, number: int, stream: int = 0) -> int:
    """Return a 32-bit seed for a trial: stream 0 draws its hyperparameters, stream 1 trains its model.

    Of a confirmation's run, stream 2 trains the model and stream 3 draws the users.
    """
    return int(np.random.SeedSequence([study_seed, number, stream]).generate_state(1)[0])

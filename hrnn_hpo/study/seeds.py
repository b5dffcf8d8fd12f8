"""A trial's place in its study, retries left out, and the seeds that follow from it."""

import numpy as np
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.optuna_quiet import experimental_allowed

# Of trial_seed: what trains the models of a confirmation's runs, and of those that screen for it; the next stream of
# each draws their users.
CONFIRMATION_STREAM = 2
SCREENING_STREAM = 5


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

    Of a confirmation's run, stream 2 trains the model and stream 3 draws the users; of a screening's, 5 and 6.
    """
    return int(np.random.SeedSequence([study_seed, number, stream]).generate_state(1)[0])


def judging_seeds(study_seed: int) -> list[int]:
    """Return the seeds that draw the users of a confirmation's first runs: nothing is chosen by them.

    They are as many as two looks of five. Ten draw seven in ten of those who may be drawn; of more runs hardly anybody
    would be left to screen by.
    """
    return [trial_seed(study_seed, repeat, stream=CONFIRMATION_STREAM + 1) for repeat in range(10)]

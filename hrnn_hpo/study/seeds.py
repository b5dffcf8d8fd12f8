"""A trial's place in its study, retries left out, and the seeds that follow from it."""

import numpy as np
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.optuna_quiet import experimental_allowed

# The streams of trial_seed: what is drawn from a study's seed and a number, of a trial or a run. Who needs one more
# takes the next free number here; another one for what is drawn already would change what studies do.
PROPOSAL_STREAM = 0  # a trial's hyperparameters
TRAINING_STREAM = 1  # a trial's model
CONFIRMATION_STREAM = 2  # the model of a confirmation's run; the next one, 3, draws its users
MIXING_STREAM = 4  # who proposes a trial, and what priors and incumbent propose
# Of the trainings that compare a part of the users with all. It is 4 by accident: both streams have begun studies, and
# that the two draw alike harms neither, since one number seeds models and random configurations, the other a choice.
PART_OF_USERS_STREAM = 4
SCREENING_STREAM = 5  # the model of a run that screens for a confirmation; the next one, 6, draws its users


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


def trial_seed(study_seed: int, number: int, stream: int = PROPOSAL_STREAM) -> int:
    """Return a 32-bit seed for what one of the streams draws for a trial or a run."""
    return int(np.random.SeedSequence([study_seed, number, stream]).generate_state(1)[0])


def split_seed_of_run(study_seed: int, repeat: int, stream: int = CONFIRMATION_STREAM) -> int:
    """Return the seed that draws the users of a confirmation's run, or of one that screens for it."""
    return trial_seed(study_seed, repeat, stream + 1)


def judging_seeds(study_seed: int) -> list[int]:
    """Return the seeds that draw the users of a confirmation's first runs: nothing is chosen by them.

    They are as many as two looks of five. Ten draw seven in ten of those who may be drawn; of more runs hardly anybody
    would be left to screen by.
    """
    return [split_seed_of_run(study_seed, repeat) for repeat in range(10)]

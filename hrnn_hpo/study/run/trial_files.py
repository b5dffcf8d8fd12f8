"""The files of a study's trials: checkpoints and models are kept for the best, the defaults and what is unfinished."""

import shutil
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import FAILURE
from hrnn_hpo.study.folders import study_folder, trial_folder
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.trials import best_trial, defaults_trial, last_attempts, winner_trial


def model_folder(study: Study, trial: FrozenTrial) -> Path:
    """Return where a trial's model is while it is worth keeping."""
    return trial_folder(study, original_number(trial)) / "model"


def drop_files(study: Study) -> None:
    """Delete the checkpoints and models of trials that nothing will ask for again."""
    folder = study_folder(study)
    # Listed before the trials are read: the folder of a trial that starts meanwhile is not among them.
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()] if folder.is_dir() else []
    trials = last_attempts(study)
    wanted = {str(original_number(trial)) for trial in trials if _unfinished(trial)}
    for trial in (best_trial(trials), winner_trial(study), defaults_trial(trials)):
        if trial is not None:
            wanted.add(str(original_number(trial)))
    for path in found:
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def drop_all_files(study: Study) -> None:
    """Delete every checkpoint and model of a study, which the storage still holds."""
    shutil.rmtree(study_folder(study), ignore_errors=True)


def _unfinished(trial: FrozenTrial) -> bool:
    # A trial that failed without a traceback lost its worker or was stopped, and is about to be queued again.
    failure = trial.user_attrs.get(FAILURE, {})
    return not trial.state.is_finished() or (trial.state == TrialState.FAIL and "traceback" not in failure)

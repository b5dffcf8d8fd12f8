"""The model that a confirmed configuration leaves: trained once more on training and validation data together.

It takes the median of the epochs that were best in the confirmation's runs, since nobody is left to stop it by.
"""

import shutil
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.config import Configuration, dump_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import StudyError
from hrnn_hpo.experiment import Device, prepare_experiment, run_experiment, training_digest
from hrnn_hpo.model.folder import SplitRecord, save_model
from hrnn_hpo.study.attributes import CONFIGURATION
from hrnn_hpo.study.folders import checkpoint_file, study_folder
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.run.trial_files import model_folder
from hrnn_hpo.study.trials import read_confirmation, winner_trial

FINAL = "final"  # attribute of a study: what the refits were, by trial


def configuration_of(trial: FrozenTrial) -> Configuration:
    """Return the configuration that a trial ran, as a file of it would say."""
    return Configuration.model_validate(trial.user_attrs[CONFIGURATION])


def confirmed_configuration(study: Study, trial: FrozenTrial) -> Configuration:
    """Return a trial's configuration; where it was confirmed, best_epoch is the median of the confirmation's runs."""
    configuration = configuration_of(trial)
    confirmation = read_confirmation(study)
    for contender in confirmation.contenders if confirmation is not None else ():
        if contender.trial == trial.number:
            return configuration.model_copy(update={"best_epoch": contender.best_epoch, "user_fraction": None})
    return configuration


def left_model_folder(study: Study, trial: FrozenTrial) -> Path:
    """Return where the model stands that a study leaves for a trial: the refit, or the trial's own if unconfirmed."""
    if read_confirmation(study) is None:
        return model_folder(study, trial)
    return _refit_folder(study, trial) / "model"


def winning_model(study: Study) -> Path | None:
    """Return the folder of the model that a study leaves, None where there is none on this machine."""
    winner = winner_trial(study)
    folder = left_model_folder(study, winner) if winner is not None else None
    return folder if folder is not None and folder.is_dir() else None


def ensure_refit(study: Study, record: StudyRecord, dataset: Dataset, trial: FrozenTrial, device: Device) -> None:
    """Train the refit of a confirmed trial where it is missing; an interrupted one goes on from its checkpoint."""
    folder = _refit_folder(study, trial)
    if (folder / "model").is_dir():
        return
    configuration = confirmed_configuration(study, trial)
    experiment = prepare_experiment(dataset, configuration, record.seen, refit=True)
    checkpoint = checkpoint_file(folder, training_digest(experiment, record.objective, "refit"))
    result = run_experiment(
        experiment,
        device=device,
        checkpoint=checkpoint,
        fixed_epochs=configuration.best_epoch,
        validate=False,
    )
    split = SplitRecord(
        protocol=record.protocol,
        split_seed=record.split_seed,
        data_hash=dataset.content_hash,
        seen=experiment.seen,
        refit=True,
    )
    save_model(folder / "model", result.model, result.configuration, dataset, experiment.split, split)
    checkpoint.unlink(missing_ok=True)
    facts: dict[str, Any] = {
        "configuration": dump_configuration(result.configuration),
        "train_loss": [report.train_loss for report in result.history],
        "seconds": round(result.seconds, 3),
        "n_parameters": result.n_parameters,
    }
    study.set_user_attr(FINAL, {**study.user_attrs.get(FINAL, {}), str(trial.number): facts})


def drop_refits(study: Study, kept: list[FrozenTrial]) -> None:
    """Delete the refits of trials that the leaderboard does not show any more."""
    wanted = {_refit_folder(study, trial).name for trial in kept}
    for folder in study_folder(study).glob("refit-*"):
        if folder.name not in wanted:
            shutil.rmtree(folder, ignore_errors=True)


def _refit_folder(study: Study, trial: FrozenTrial) -> Path:
    epochs = confirmed_configuration(study, trial).best_epoch
    return study_folder(study) / f"refit-{trial.number}-{epochs}"


def winning_configuration(study: Study) -> Configuration:
    """Return the configuration that a study leaves: its winner's. Raises StudyError while no trial is complete."""
    winner = winner_trial(study)
    if winner is None:
        raise StudyError(f"Study {study.study_name!r} has no complete trial yet: there is no winner.")
    return confirmed_configuration(study, winner)

"""The model that a confirmed configuration leaves: trained once more on training and validation data together.

It takes the median of the epochs that were best in the confirmation's runs, since nobody is left to stop it by.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.config import Configuration, dump_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ModelError, StudyError
from hrnn_hpo.experiment import (
    Device,
    ExperimentResult,
    prepare_experiment,
    run_experiment,
    save_experiment,
    training_digest,
)
from hrnn_hpo.model.ensemble import Ensemble
from hrnn_hpo.model.folder import SavedModel, load_model, write_model
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.study.attributes import CONFIGURATION
from hrnn_hpo.study.confirm.settings import wanted_settings
from hrnn_hpo.study.folders import checkpoint_file, study_folder
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.run.trial_files import model_folder
from hrnn_hpo.study.seeds import CONFIRMATION_STREAM, trial_seed
from hrnn_hpo.study.trials import last_attempts, read_confirmation, winner_trial

FINAL = "final"  # attribute of a study: what the refits were, by trial
_MEMBER = "member-"  # begins the names of the folders with the further refits of an ensemble


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
    if winner is None:
        return None
    folder = left_model_folder(study, winner)
    if read_confirmation(study) is not None and wanted_settings(study, None, None).ensemble:
        several = ensemble_folder(study, winner)
        folder = several if several.is_dir() else folder
    return folder if folder.is_dir() else None


def shown_model(study: Study, winner: int, *, refit: bool, ensemble: bool) -> Path | None:
    """Return the folder of the model whose test figures a study shows, None where there is none on this machine.

    `winner` is its trial, by its number; the other two say which of a trial's models it was.
    """
    trial = next((trial for trial in last_attempts(study) if trial.number == winner), None)
    if trial is None:
        return None
    own = [model_folder(study, trial)]
    refits = study_folder(study).glob(f"refit-{winner}-*/{'ensemble' if ensemble else 'model'}")
    return next((folder for folder in (refits if refit else own) if folder.is_dir()), None)


def ensemble_folder(study: Study, trial: FrozenTrial) -> Path:
    """Return where the mean of several refits of a confirmed trial stands."""
    return _refit_folder(study, trial) / "ensemble"


def ensure_refit(study: Study, record: StudyRecord, dataset: Dataset, trial: FrozenTrial, device: Device) -> None:
    """Train the refit of a confirmed trial where it is missing; an interrupted one goes on from its checkpoint."""

    def write_down(result: ExperimentResult) -> None:
        facts: dict[str, Any] = {
            "configuration": dump_configuration(result.configuration),
            "train_loss": [report.train_loss for report in result.history],
            "seconds": round(result.seconds, 3),
            "n_parameters": result.n_parameters,
        }
        study.set_user_attr(FINAL, {**study.user_attrs.get(FINAL, {}), str(trial.number): facts})

    _ensure_model(
        _refit_folder(study, trial), record, dataset, confirmed_configuration(study, trial), device, write_down
    )


def ensure_ensemble(
    study: Study, record: StudyRecord, dataset: Dataset, trial: FrozenTrial, device: Device, n_members: int
) -> Path:
    """Return the folder of the mean of `n_members` refits of a confirmed trial, and train those that are missing.

    The first is the refit itself, the others are trained alike with the seeds of the confirmation's runs. An
    interrupted one goes on from its checkpoint, and finished ones stay.
    """
    target, single = ensemble_folder(study, trial), _refit_folder(study, trial)
    there = whole_model(target)
    if there is None or there.split.n_members != n_members:
        ensure_refit(study, record, dataset, trial, device)
        folders = [single, *(single / f"{_MEMBER}{number}" for number in range(1, n_members))]
        configuration = confirmed_configuration(study, trial)
        for number, folder in enumerate(folders[1:], start=1):
            seed = trial_seed(record.seed, number, stream=CONFIRMATION_STREAM)
            _ensure_model(folder, record, dataset, configuration.model_copy(update={"seed": seed}), device)
        members = [load_model(folder / "model") for folder in folders]
        models = [member.model for member in members if isinstance(member.model, HRNN)]
        first = members[0]
        write_model(target, replace(first, model=Ensemble(models), split=replace(first.split, n_members=n_members)))
    for folder in single.glob(f"{_MEMBER}*"):  # also those of a process that died here
        shutil.rmtree(folder, ignore_errors=True)
    return target


def whole_model(folder: Path) -> SavedModel | None:
    """Return the model in a folder, None where there is none or a process died while it deleted the folder."""
    try:
        return load_model(folder)
    except ModelError:
        return None


def _ensure_model(
    folder: Path,
    record: StudyRecord,
    dataset: Dataset,
    configuration: Configuration,
    device: Device,
    write_down: Callable[[ExperimentResult], None] = lambda result: None,
) -> None:
    """Train a configuration on training and validation data where a folder lacks its model, and write it there.

    What `write_down` does has happened where the model is; a process that dies between the two does it again.
    """
    if whole_model(folder / "model") is not None:
        for left in folder.glob("checkpoint*"):
            left.unlink(missing_ok=True)
        return
    shutil.rmtree(folder / "model", ignore_errors=True)
    experiment = prepare_experiment(dataset, configuration, record.seen, refit=True)
    checkpoint = checkpoint_file(folder, training_digest(experiment, record.objective, "refit"))
    result = run_experiment(
        experiment,
        device=device,
        checkpoint=checkpoint,
        fixed_epochs=configuration.best_epoch,
        validate=False,
    )
    write_down(result)
    save_experiment(folder / "model", experiment, result, refit=True)
    checkpoint.unlink(missing_ok=True)


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

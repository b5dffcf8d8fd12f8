"""What can be done to studies besides running them: stop, delete, clean up."""

import shlex

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.errors import StudyError, counted
from hrnn_hpo.study.attributes import CONFIRMS, STOP_KEY
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.folders import files_keys_of
from hrnn_hpo.study.record import KEY, beside, read_record
from hrnn_hpo.study.request.widening import finish_widening
from hrnn_hpo.study.run.recovery import recover
from hrnn_hpo.study.run.trial_files import drop_all_files, drop_files
from hrnn_hpo.study.storage.database import has_study, load_study, open_storage, study_names
from hrnn_hpo.study.storage.user_figures import drop_figures, studies_with_figures
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.study.trials import count_trials
from hrnn_hpo.tracking import Tracker


def stop_study(study: str, *, storage: str | None = None) -> int:
    """Ask all workers of a study to stop after their epoch; return how many trials are running now.

    Raises StudyError for the study that holds another one's confirmation.
    """
    database = open_storage(storage)
    found = _named(study, database)
    found.set_user_attr(STOP_KEY, True)  # first: who begins a confirmation now looks here when it is there to be asked
    both = _with_companion(found, database)
    for one in both[1:]:
        one.set_user_attr(STOP_KEY, True)
    return sum(count_trials(one.get_trials(deepcopy=False)).running for one in both)


def delete_study(study: str, *, storage: str | None = None, tracking_uri: str | None = None) -> None:
    """Delete a study: its trials, its files and (as MLflow's UI does, restorably) its runs.

    Raises StudyError while trials are running, and for the study that holds another one's confirmation.
    """
    database = open_storage(storage)
    finish_widening(study, database)  # else the copy of one that was cut off would come back under this name
    found = _named(study, database)
    both = _with_companion(found, database)
    for one in both:
        recover(one, database)
    running = sum(count_trials(one.get_trials(deepcopy=False)).running for one in both)
    if running:
        stop = shlex.join(["hrnn-hpo", "studies", "stop", study])
        raise StudyError(f"Study {study!r} has {counted(running, 'running trial')}: stop it first (`{stop}`).")
    if KEY in found.user_attrs:
        StudyRuns(Tracker(tracking_uri), study, read_record(found)).delete_runs()
    for one in reversed(both):
        drop_all_files(one)
        drop_figures(database, files_keys_of(one)[0])
        optuna.delete_study(study_name=one.study_name, storage=database)


def clean_up(*, storage: str | None = None) -> list[str]:
    """Requeue the trials of dead workers, delete what nothing needs any more; return the names of the studies."""
    database = open_storage(storage)
    kept = studies_with_figures(database)  # before the names: a study that begins meanwhile is not among them
    names = study_names(database)
    there = {key for name in names for key in files_keys_of(load_study(name, database))}
    for key in set(kept) - there:
        drop_figures(database, key)
    studies = [load_study(name, database) for name in names]
    for study in studies:
        recover(study, database)
        drop_files(study)
    return [study.study_name for study in studies if CONFIRMS not in study.user_attrs]


def _named(name: str, storage: RDBStorage) -> Study:
    """Return the study of a name. Raises StudyError for the confirmation of another one, unless that one is gone."""
    found = load_study(name, storage)
    owner = found.user_attrs.get(CONFIRMS)
    if owner is not None and has_study(owner, storage):
        companion = companion_of(load_study(owner, storage), storage)
        if companion is not None and companion.study_name == name:
            raise beside(found)
    return found


def _with_companion(study: Study, storage: RDBStorage) -> list[Study]:
    """Return a study and, where there is one, the study with its confirmation runs."""
    companion = companion_of(study, storage)
    return [study] if companion is None else [study, companion]

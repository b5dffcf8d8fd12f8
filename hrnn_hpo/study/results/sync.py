"""`sync`: the MLflow side of a study, rebuilt or completed from Optuna's storage alone."""

from optuna.trial import TrialState

from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.stores import without_password
from hrnn_hpo.study.confirm.agenda import confirmation_runs, screening_runs
from hrnn_hpo.study.confirm.leaderboard import read_leaderboard
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.results.to_mlflow import track_results
from hrnn_hpo.study.run.recovery import recover
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.study.trials import count_trials, last_attempts
from hrnn_hpo.tracking import Tracker


def sync(study: str, *, storage: str | None = None, tracking_uri: str | None = None) -> int:
    """Write runs, parameters, every epoch's metrics, tags and plots of a study to MLflow; return the number of runs.

    What is there already stays as it is. Models are copied only where their files survive. Raises RunFailedError when
    MLflow did not take everything.
    """
    database = open_storage(storage)
    found = load_study(study, database)
    record, companion = read_record(found), companion_of(found, database)
    for one in (found, companion):
        if one is not None:
            recover(one, database)
    tracker = Tracker(tracking_uri)
    shown = StudyRuns(tracker, study, record)
    shown.open_parent(found)
    trials = [trial for trial in last_attempts(found) if trial.state != TrialState.WAITING]
    for trial in trials:
        shown.write_trial(trial)
    runs = [*screening_runs(companion), *confirmation_runs(companion)] if companion is not None else []
    runs = [run for run in runs if run.state != TrialState.WAITING]
    for run in runs:
        shown.write_trial(run)
    track_results(shown, found, companion)
    if not count_trials([*trials, *runs]).running:
        shown.close_parent("complete" if read_leaderboard(found) else "stopped")
    if tracker.failure is not None:
        raise RunFailedError(
            f"MLflow ({without_password(tracker.uri)}) did not take all of study {study!r}: {tracker.failure}\n"
            "The same command writes the rest."
        )
    return len(trials) + len(runs) + 1

"""`sync`: the MLflow side of a study, rebuilt or completed from Optuna's storage alone."""

from optuna.trial import TrialState

from hrnn_hpo.study.attributes import last_attempts
from hrnn_hpo.study.confirm import companion_of, confirmation_runs
from hrnn_hpo.study.control import count_trials
from hrnn_hpo.study.leaderboard import read_leaderboard
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.recovery import Recovery
from hrnn_hpo.study.results import track_results
from hrnn_hpo.study.storage import load_study, open_storage
from hrnn_hpo.tracking import Tracker


def sync(study: str, *, storage: str | None = None, tracking_uri: str | None = None) -> int:
    """Write runs, parameters, every epoch's metrics, tags and plots of a study to MLflow; return the number of runs.

    What is there already stays as it is. Models are copied only where their files survive.
    """
    database = open_storage(storage)
    found = load_study(study, database)
    Recovery(study, database).run()
    mirror = Mirror(Tracker(tracking_uri), study, read_record(found))
    mirror.open_parent(found)
    trials = [trial for trial in last_attempts(found) if trial.state != TrialState.WAITING]
    for trial in trials:
        mirror.write_trial(trial)
    companion = companion_of(found, database)
    runs = confirmation_runs(companion) if companion is not None else []
    runs = [run for run in runs if run.state != TrialState.WAITING]
    for run in runs:
        mirror.write_trial(run)
    track_results(mirror, found, companion)
    if not count_trials([*trials, *runs]).running:
        mirror.close_parent("complete" if read_leaderboard(found) else "stopped")
    return len(trials) + len(runs) + 1

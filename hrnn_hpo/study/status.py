"""What can be said about studies from their storage alone; and what can be done to them: stop, delete, clean up."""

import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import TrialState

from hrnn_hpo.errors import StudyError
from hrnn_hpo.study.attributes import best_trial, last_attempts, read_confirmation
from hrnn_hpo.study.confirm import CONFIRMS, companion_of, confirmation_runs
from hrnn_hpo.study.control import STOP_KEY, Progress, count_trials
from hrnn_hpo.study.files import drop_all_files, drop_files
from hrnn_hpo.study.forecast import seconds_per_trial
from hrnn_hpo.study.leaderboard import openings
from hrnn_hpo.study.limits import BUDGET_KEY
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.record import KEY, read_record
from hrnn_hpo.study.recovery import Recovery
from hrnn_hpo.study.storage import load_study, open_storage, storage_label, study_names
from hrnn_hpo.tracking import Tracker


@dataclass(frozen=True)
class Status:
    """Where a study stands."""

    study: str
    storage: str
    data: str
    space: str
    objective: str
    protocol: str
    trials: Progress
    n_trials: int | None  # the goal of the newest `tune`
    best_trial: int | None
    best_value: float | None
    trials_per_hour: float | None
    seconds_left: float | None
    test_openings: int
    running: list[int]
    confirmation: dict[str, Any] | None = None  # verdict, winner, optimism, n_seeds, and how many runs are done of all

    def content(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def status(study: str, *, storage: str | None = None) -> Status:
    """Return where a study stands. Raises StudyError for one that the storage does not hold."""
    database = open_storage(storage)
    return _status(load_study(study, database), database)


def list_studies(*, storage: str | None = None) -> list[Status]:
    """Return where each study of a storage stands, by name; studies of other software are left out."""
    database = open_storage(storage)
    found = [load_study(name, database) for name in study_names(database)]
    return [_status(study, database) for study in found if KEY in study.user_attrs]


def stop_study(study: str, *, storage: str | None = None) -> int:
    """Ask all workers of a study to stop after their epoch; return how many trials are running now."""
    database = open_storage(storage)
    running = 0
    for one in _with_companion(load_study(study, database), database):
        one.set_user_attr(STOP_KEY, True)
        running += count_trials(one.get_trials(deepcopy=False)).running
    return running


def delete_study(study: str, *, storage: str | None = None, tracking_uri: str | None = None) -> None:
    """Delete a study: its trials, its files and (as MLflow's UI does, restorably) its runs.

    Raises StudyError while trials are running.
    """
    database = open_storage(storage)
    found = load_study(study, database)
    both = _with_companion(found, database)
    for one in both:
        Recovery(one.study_name, database).run()
    running = sum(count_trials(one.get_trials(deepcopy=False)).running for one in both)
    if running:
        raise StudyError(
            f"Study {study!r} has {running} running trials: stop it first (`hrnn-hpo studies stop {study}`)."
        )
    if KEY in found.user_attrs:
        Mirror(Tracker(tracking_uri), study, read_record(found)).delete_runs()
    for one in reversed(both):
        optuna.delete_study(study_name=one.study_name, storage=database)
        drop_all_files(one.study_name)


def clean_up(*, storage: str | None = None) -> list[str]:
    """Requeue the trials of dead workers, delete files that nothing needs; return the names of the studies."""
    database = open_storage(storage)
    names = study_names(database)
    for name in names:
        Recovery(name, database).run()
        drop_files(load_study(name, database))
    return [name for name in names if CONFIRMS not in load_study(name, database).user_attrs]


def _with_companion(study: Study, storage: RDBStorage) -> list[Study]:
    """Return a study and, where there is one, the study with its confirmation runs."""
    companion = companion_of(study, storage)
    return [study] if companion is None else [study, companion]


def _status(study: Study, storage: RDBStorage) -> Status:
    record = read_record(study)
    trials = last_attempts(study)
    counts = count_trials(trials)
    best = best_trial(trials)
    goal = study.user_attrs.get(BUDGET_KEY, {}).get("n_trials")
    done = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED) and t.datetime_start]
    running = [t for t in trials if t.state == TrialState.RUNNING]
    durations = [t.duration.total_seconds() for t in done if t.duration]
    per_trial = seconds_per_trial(study, durations)
    rate, left = None, None
    if done:
        rate = 3600 * len(done) * max(len(running), 1) / max(sum(durations), 1e-9)
    if running and per_trial is not None and goal is not None:
        under_way = sum((datetime.now() - t.datetime_start).total_seconds() for t in running if t.datetime_start)
        left = max(per_trial * max(goal - counts.done, 0) - under_way, 0.0) / len(running)
    deadline = study.user_attrs.get(BUDGET_KEY, {}).get("deadline")
    if running and deadline is not None:
        until = max(deadline - time.time(), 0.0)
        left = until if left is None else min(left, until)
    return Status(
        study=study.study_name,
        storage=storage_label(storage),
        data=record.data,
        space=str(record.space.get("name", "")),
        objective=record.objective,
        protocol=record.protocol,
        trials=counts,
        n_trials=goal,
        best_trial=best.number if best else None,
        best_value=best.value if best else None,
        trials_per_hour=rate,
        seconds_left=left,
        test_openings=openings(study),
        running=[t.number for t in running],
        confirmation=_confirmation(study, storage),
    )


def _confirmation(study: Study, storage: RDBStorage) -> dict[str, Any] | None:
    companion = companion_of(study, storage)
    if companion is None:
        return None
    runs = confirmation_runs(companion)
    found = read_confirmation(study)
    facts = ("verdict", "winner", "optimism", "n_seeds")
    return {
        **{name: getattr(found, name) if found is not None else None for name in facts},
        "n_runs_done": sum(run.state.is_finished() for run in runs),
        "n_runs": len(runs),
    }

"""What can be said about studies from their storage alone. What can be done to them stands in manage.py."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import CANDIDATE, RUN_INDEX, WORKER, standard_error_of
from hrnn_hpo.study.confirm.agenda import confirmation_runs, n_to_come, screening_runs
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirm.settings import wanted_settings
from hrnn_hpo.study.confirm.test_part import openings
from hrnn_hpo.study.forecast.forecast import seconds_per_trial
from hrnn_hpo.study.record import KEY, read_record
from hrnn_hpo.study.report.answers import try_answers
from hrnn_hpo.study.report.outlook import Outlook
from hrnn_hpo.study.request.budget import read_budget
from hrnn_hpo.study.run.recovery import is_dead
from hrnn_hpo.study.storage.database import load_study, open_storage, storage_label, study_names
from hrnn_hpo.study.trials import Progress, best_trial, count_trials, last_attempts, read_confirmation


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
    best_standard_error: float | None  # over its validation users
    trials_per_hour: float | None
    seconds_left: float | None
    test_openings: int
    running: list[int]
    lost: list[int]  # of them, those whose worker, a process of this machine, is gone: whoever goes on takes them up
    confirmation: dict[str, Any] | None = None  # verdict, winner, …, how many runs are done, of screening too
    outlook: Outlook | None = None  # what more trials are worth; None in lists of studies

    def content(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def status(study: str, *, storage: str | None = None) -> Status:
    """Return where a study stands. Raises StudyError for one that the storage does not hold."""
    database = open_storage(storage)
    found = load_study(study, database)
    told, answers = _status(found, database), try_answers(found)
    return told if answers is None else replace(told, outlook=answers.outlook)


def list_studies(*, storage: str | None = None) -> list[Status]:
    """Return where each study of a storage stands, by name; studies of other software are left out."""
    database = open_storage(storage)
    found = [load_study(name, database) for name in study_names(database)]
    return [_status(study, database) for study in found if KEY in study.user_attrs]


def _status(study: Study, storage: RDBStorage) -> Status:
    record = read_record(study)
    trials = last_attempts(study)
    counts = count_trials(trials)
    best = best_trial(trials)
    budget = read_budget(study)
    goal = budget.n_trials if budget is not None else None
    done = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED) and t.datetime_start]
    running = [t for t in trials if t.state == TrialState.RUNNING]
    durations = [t.duration.total_seconds() for t in done if t.duration]
    per_trial = seconds_per_trial(study, durations)
    lost = [t.number for t in running if is_dead(t.user_attrs.get(WORKER))]
    at_work = [t for t in running if t.number not in lost]
    rate, left = None, None
    if done:
        rate = 3600 * len(done) * max(len(at_work), 1) / max(sum(durations), 1e-9)
    if at_work and per_trial is not None and goal is not None:
        under_way = sum((datetime.now() - t.datetime_start).total_seconds() for t in at_work if t.datetime_start)
        left = max(per_trial * max(goal - counts.done, 0) - under_way, 0.0) / len(at_work)
    deadline = budget.deadline if budget is not None else None
    if at_work and deadline is not None:
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
        best_standard_error=standard_error_of(best) if best else None,
        trials_per_hour=rate,
        seconds_left=left,
        test_openings=openings(study),
        running=[t.number for t in running],
        lost=lost,
        confirmation=_confirmation(study, storage),
    )


def _confirmation(study: Study, storage: RDBStorage) -> dict[str, Any] | None:
    companion = companion_of(study, storage)
    if companion is None:
        return None
    runs, screening = confirmation_runs(companion), screening_runs(companion)
    to_screen, to_confirm = n_to_come(companion)
    found = read_confirmation(study)
    if found is None and wanted_settings(study, None, None).k == 0:  # called off
        return None
    under_way = [
        (run, f"{verb} {_run_name(run)}")
        for verb, those in (("screening", screening), ("confirming", runs))
        for run in those
        if run.state == TrialState.RUNNING
    ]
    facts = ("verdict", "doubt", "winner", "optimism", "n_seeds", "look", "alpha")
    return {
        **{name: getattr(found, name) if found is not None else None for name in facts},
        "n_runs_done": sum(run.state.is_finished() for run in runs),
        "n_runs": len(runs) + to_confirm,
        "n_screening_runs_done": sum(run.state.is_finished() for run in screening),
        "n_screening_runs": len(screening) + to_screen,
        "running": [name for run, name in under_way if not is_dead(run.user_attrs.get(WORKER))],
        "lost": [name for run, name in under_way if is_dead(run.user_attrs.get(WORKER))],
    }


def _run_name(run: FrozenTrial) -> str:
    return f"trial {run.user_attrs[CANDIDATE]}, run {run.user_attrs[RUN_INDEX] + 1}"

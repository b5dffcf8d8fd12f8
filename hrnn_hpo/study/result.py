"""What a study has come to, as `tune` returns it: read from the study, with nothing trained or opened for it."""

from dataclasses import dataclass, field
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.config import Configuration
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.study.confirm.leaderboard import Leaderboard
from hrnn_hpo.study.confirm.refit import winning_configuration
from hrnn_hpo.study.confirm.test_part import outdated
from hrnn_hpo.study.confirmation import Confirmation
from hrnn_hpo.study.objectives import FrontPoint, pareto_front
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.report.answers import Answers, try_answers
from hrnn_hpo.study.results.folder import Written
from hrnn_hpo.study.run.control import Control
from hrnn_hpo.study.storage.database import storage_label
from hrnn_hpo.study.trials import Progress, count_trials, last_attempts, read_confirmation, winner_trial
from hrnn_hpo.tracking import Tracker


@dataclass(frozen=True)
class StudyResult:
    """What a study has come to when `tune` returns."""

    study: str
    record: StudyRecord
    storage: str
    tracking_uri: str
    stopped: str  # why the search ended
    interrupted: bool  # by a signal or `studies stop`: the same command goes on
    trials: Progress
    best_trial: int | None  # the confirmed winner, else the search's best; None where no trial was complete yet
    best_value: float | None  # its score in the search
    configuration: Configuration | None  # its configuration: what `export` writes
    front: list[FrontPoint]  # of several objectives: the trials that no other one beats; else empty
    confirmation: Confirmation | None  # None where nothing was confirmed
    leaderboard: Leaderboard | None  # None where the search was interrupted, and while a verdict is missing
    answers: Answers | None  # what each hyperparameter brought, what more trials are worth; None where it failed
    outdated: str | None  # in which way the leaderboard and the model are not those of the winner; None where they are
    out: Path | None
    written: Written = field(default_factory=Written)  # what was written there


def study_result(
    study: Study,
    stopped: str,
    storage: RDBStorage,
    tracker: Tracker,
    board: Leaderboard | None,
    out: Path | None,
    control: Control,
) -> StudyResult:
    """Return what a study has come to: `stopped` says why its search ended, `board` what its test users said.

    Raises RunFailedError where no trial is complete, unless the study was interrupted.
    """
    trials = last_attempts(study)
    best = winner_trial(study)
    counts = count_trials(trials)
    if best is None and not control.ended:
        raise RunFailedError(
            f"No trial of study {study.study_name!r} has completed ({stopped}; {counts.failed} failed, "
            f"{counts.waiting} waiting). The same command continues."
        )
    return StudyResult(
        study=study.study_name,
        record=read_record(study),
        storage=storage_label(storage),
        tracking_uri=tracker.uri,
        stopped=stopped,
        interrupted=control.ended,
        trials=counts,
        best_trial=best.number if best else None,
        best_value=best.value if best else None,
        configuration=winning_configuration(study) if best else None,
        front=pareto_front(study, read_record(study).objectives),
        confirmation=read_confirmation(study),
        leaderboard=board,
        answers=try_answers(study),
        outdated=outdated(study),
        out=out,
    )

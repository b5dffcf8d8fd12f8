"""Confirmation runs: the best configurations and the defaults train again, on fresh seeds and other users.

The runs are the trials of a companion study in the same storage, one per (configuration, run), queued before the first
one starts. So workers, checkpoints, heartbeats and retries are those of the search: a killed confirmation goes on with
the runs that are left, from their last epoch. What the runs prove is verdict.py's business.
"""

import logging
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.config import Configuration
from hrnn_hpo.study.attributes import (
    CANDIDATE,
    CONFIGURATION,
    CONFIRMS,
    CONFIRMS_UID,
    ROLE,
    RUN_INDEX,
    STOP_KEY,
    SUMMARY,
    TRAIN_SEED,
)
from hrnn_hpo.study.confirm.settings import Settings, n_confirmed
from hrnn_hpo.study.record import StudyRecord, read_record, uid_of
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.seeds import CONFIRMATION_STREAM, trial_seed
from hrnn_hpo.study.storage.database import create_study, has_study, load_study
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.trials import best_trials, count_trials, defaults_trial, last_attempts, read_confirmation

_log = logging.getLogger(__name__)


def companion_name(study: str) -> str:
    """Return the name of the study that holds a study's confirmation runs."""
    return f"{study} (confirmation)"


def companion_of(study: Study, storage: RDBStorage) -> Study | None:
    """Return the study with a study's confirmation runs, None where none was begun."""
    name = companion_name(study.study_name)
    found = load_study(name, storage) if has_study(name, storage) else None
    return found if found is not None and _belongs(found, study) else None


def _belongs(companion: Study, study: Study) -> bool:
    """Return whether a confirmation is that of just this study, and not of an earlier one of its name.

    Version 0.1.0 wrote down the name alone; its runs are newer than the study that they confirm.
    """
    uid = companion.user_attrs.get(CONFIRMS_UID)
    if uid is not None:
        return bool(uid == uid_of(study))
    created = datetime.fromisoformat(read_record(study).created).timestamp()
    starts = [run.datetime_start.timestamp() for run in companion.get_trials(deepcopy=False) if run.datetime_start]
    return all(start >= created for start in starts)


def begin_confirmation(study: Study, record: StudyRecord, storage: RDBStorage, settings: Settings) -> Study | None:
    """Return the companion study with every run queued that is still to be done; None where nothing is to confirm.

    Runs that were done for an earlier confirmation stay, and their configurations stay in the contest.
    """
    trials = last_attempts(study)
    defaults = defaults_trial(trials)
    k = n_confirmed(settings, count_trials(trials).done, record)
    challengers = _challengers(trials, defaults, k)
    if defaults is None or SUMMARY not in defaults.user_attrs or not challengers:
        if settings.k:
            _log.warning("Nothing was confirmed: that takes the defaults and another configuration, both complete.")
        return None
    with holding(study.study_name, storage, "begin"):
        name = companion_name(study.study_name)
        if has_study(name, storage) and companion_of(study, storage) is None:  # of a study that is gone
            optuna.delete_study(study_name=name, storage=storage)
        companion = create_study(name, storage)
        companion.set_user_attr(CONFIRMS, study.study_name)
        companion.set_user_attr(CONFIRMS_UID, record.uid)
        companion.set_user_attr(STOP_KEY, False)
        runs = confirmation_runs(companion)
        # A run that failed for a reason of its own is tried again by the next command, until the verdict is there.
        over = {TrialState.COMPLETE, TrialState.WAITING, TrialState.RUNNING}
        there = {run_key(run) for run in runs if run.state in over}
        known = read_confirmation(study)
        out = known.failed if known is not None else []
        wanted = [defaults.number, *challengers, *(run.user_attrs[CANDIDATE] for run in runs)]
        wanted = [number for number in dict.fromkeys(wanted) if number not in out]
        # All configurations of one seed first: a confirmation that is looked at half-way is balanced.
        for repeat in range(settings.n_seeds):
            for number in wanted:
                if (number, repeat) not in there:
                    companion.enqueue_trial({}, user_attrs=_attributes(trials, number, repeat, record))
        write_budget(companion, Budget(len(wanted) * settings.n_seeds, sampler="random", pruner="none"))
    return companion


def confirmation_runs(companion: Study) -> list[FrozenTrial]:
    """Return the runs of a confirmation without those that were retried, or queued again after a failure."""
    return list({run_key(run): run for run in last_attempts(companion) if CANDIDATE in run.user_attrs}.values())


def runs_left(companion: Study) -> int:
    """Return how many confirmation runs are queued or running."""
    return sum(not run.state.is_finished() for run in confirmation_runs(companion))


def _challengers(trials: list[FrozenTrial], defaults: FrozenTrial | None, k: int) -> list[int]:
    """Return the `k` best complete trials whose configurations differ from the defaults and from each other."""
    seen = [_hyperparameters(defaults)] if defaults is not None else []
    found: list[int] = []
    for trial in best_trials(trials):
        if len(found) < k and _hyperparameters(trial) not in seen:
            seen.append(_hyperparameters(trial))
            found.append(trial.number)
    return found


def _hyperparameters(trial: FrozenTrial) -> Any:
    return trial.user_attrs.get(CONFIGURATION, {}).get("hyperparameters")


def _attributes(trials: list[FrozenTrial], number: int, repeat: int, record: StudyRecord) -> dict[str, Any]:
    trial = next(trial for trial in trials if trial.number == number)
    configuration = Configuration.model_validate(trial.user_attrs[CONFIGURATION])
    fresh = configuration.model_copy(
        update={
            "seed": trial_seed(record.seed, repeat, stream=CONFIRMATION_STREAM),
            "best_epoch": None,
            "n_threads": None,
            "user_fraction": None,
        }
    )
    return {
        ROLE: "confirmation",
        CANDIDATE: number,
        RUN_INDEX: repeat,
        TRAIN_SEED: trial_seed(record.seed, repeat, stream=3),
        CONFIGURATION: fresh.model_dump(exclude_none=True),
    }


def run_key(run: FrozenTrial) -> tuple[int, int]:
    """Return which run of which configuration it is: (trial that is confirmed, run from 0)."""
    return run.user_attrs[CANDIDATE], run.user_attrs[RUN_INDEX]

"""Confirmation runs: the best configurations and the defaults train again, on fresh seeds and other users.

The runs are the trials of a companion study in the same storage, one per (configuration, run). Those that are certain
are queued before the first one starts; which further ones the rounds of a screening ask for, agenda.py tells, and
whoever looks for work queues them. So workers, checkpoints, heartbeats and retries are those of the search: a killed
confirmation goes on with the runs that are left, from their last epoch. What the runs prove is verdict.py's business.
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
    WITHDRAWN,
)
from hrnn_hpo.study.confirm.agenda import (
    SCREENING,
    Agenda,
    Due,
    asked_for,
    confirmation_runs,
    due,
    n_to_come,
    run_key,
    screening_runs,
    write_agenda,
)
from hrnn_hpo.study.confirm.settings import Settings, how_many
from hrnn_hpo.study.record import StudyRecord, read_record, uid_of
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.seeds import CONFIRMATION_STREAM, SCREENING_STREAM, split_seed_of_run, trial_seed
from hrnn_hpo.study.storage.database import create_study, has_study, load_study
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.storage.names import is_ours, require_names_beside
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
    """Return whether a study is the confirmation of just this one, and not of an earlier one of its name.

    Version 0.1.0 wrote down the name alone; its runs are newer than the study that they confirm.
    """
    if CONFIRMS not in companion.user_attrs:  # another program's
        return False
    uid = companion.user_attrs.get(CONFIRMS_UID)
    if uid is not None:
        return bool(uid == uid_of(study))
    created = datetime.fromisoformat(read_record(study).created).timestamp()
    starts = [run.datetime_start.timestamp() for run in companion.get_trials(deepcopy=False) if run.datetime_start]
    return all(start >= created for start in starts)


def begin_confirmation(study: Study, record: StudyRecord, storage: RDBStorage, settings: Settings) -> Study | None:
    """Return the companion study with every run queued that is certain by now; None where nothing is to confirm.

    Runs that were done for an earlier confirmation stay, and their configurations stay in the contest. Those that are
    queued and not asked for any more are called off; with `--confirm 0` that is all of them.
    """
    trials = last_attempts(study)
    defaults = defaults_trial(trials)
    before = companion_of(study, storage)
    numbers = how_many(settings, count_trials(trials).done, record, before)
    k = numbers.confirmed
    if settings.k == 0 and before is not None and defaults is not None:
        with holding(study.study_name, storage, "begin"), holding(before.study_name, storage, "start"):
            write_agenda(before, Agenda(defaults.number, [], None, k=0, n_seeds=0, stay=[], out=[]))
            _call_off(before)
        return None
    challengers = _challengers(trials, defaults, k)
    if defaults is None or SUMMARY not in defaults.user_attrs or not challengers:
        if settings.k:
            _log.warning("Nothing was confirmed: that takes the defaults and another configuration, both complete.")
        return None
    with holding(study.study_name, storage, "begin"):
        name = companion_name(study.study_name)
        require_names_beside(study.study_name, storage)
        if has_study(name, storage) and is_ours(load_study(name, storage)) and companion_of(study, storage) is None:
            optuna.delete_study(study_name=name, storage=storage)  # of a study that is gone
        companion = create_study(name, storage)
        companion.set_user_attr(CONFIRMS, study.study_name)
        companion.set_user_attr(CONFIRMS_UID, record.uid)
        companion.set_user_attr(STOP_KEY, False)
        if settings.screen and not numbers.screened:
            _log.warning("Nobody is screened: of --screen %d, --confirm %d takes all.", settings.screen, k)
        candidates = _challengers(trials, defaults, max(numbers.screened, k))
        known = read_confirmation(study)
        agenda = Agenda(
            defaults=defaults.number,
            candidates=[trial.number for trial in candidates],
            scores=None if record.user_fraction is not None else [trial.value or 0.0 for trial in candidates],
            k=k,
            n_seeds=settings.n_seeds,
            stay=list(dict.fromkeys(run.user_attrs[CANDIDATE] for run in confirmation_runs(companion))),
            out=known.out if known is not None else [],
        )
        with holding(name, storage, "start"):  # as whoever looks for work in it
            write_agenda(companion, agenda)
            # A run that failed for a reason of its own is tried again by the next command, until the verdict is there.
            _call_off(companion)
            _queue(companion, due(companion, again=True), study, record)
            n_runs = len(confirmation_runs(companion)) + len(screening_runs(companion)) + sum(n_to_come(companion))
            write_budget(companion, Budget(n_runs, sampler="random", pruner="none"))
    return companion


def queue_due(companion: Study, storage: RDBStorage) -> bool:
    """Queue what the runs that have ended ask for; return whether there was anything. The start lock must be held."""
    wanted = due(companion)
    if wanted:
        study = load_study(companion.user_attrs[CONFIRMS], storage)
        _queue(companion, wanted, study, read_record(study))
    return bool(wanted)


def runs_left(companion: Study) -> int:
    """Return how many runs are queued or running, or will be asked for by the results."""
    runs = [*confirmation_runs(companion), *screening_runs(companion)]
    return sum(not run.state.is_finished() for run in runs) + sum(n_to_come(companion))


def _challengers(trials: list[FrozenTrial], defaults: FrozenTrial | None, n: int) -> list[FrozenTrial]:
    """Return the `n` best complete trials whose configurations differ from the defaults and from each other."""
    seen = [_hyperparameters(defaults)] if defaults is not None else []
    found: list[FrozenTrial] = []
    for trial in best_trials(trials):
        if len(found) < n and _hyperparameters(trial) not in seen:
            seen.append(_hyperparameters(trial))
            found.append(trial)
    return found


def _hyperparameters(trial: FrozenTrial) -> Any:
    return trial.user_attrs.get(CONFIGURATION, {}).get("hyperparameters")


def _queue(companion: Study, wanted: list[Due], study: Study, record: StudyRecord) -> None:
    trials = {trial.number: trial for trial in last_attempts(study)}
    for one in wanted:
        companion.enqueue_trial({}, user_attrs=_attributes(trials[one.trial], one, record))


def _call_off(companion: Study) -> None:
    """Withdraw the queued runs that the agenda does not ask for. The start lock must be held: none of them begins.

    What it asks for where the runs that failed are left as they are stays too: it may be needed when they have run.
    """
    asked = [*asked_for(companion), *asked_for(companion, again=True)]
    wanted = {(one.role, one.trial, one.repeat) for one in asked}
    for run in companion.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        half_done = WITHDRAWN in run.user_attrs  # by a process that died here
        if CANDIDATE in run.user_attrs and (half_done or (run.user_attrs.get(ROLE), *run_key(run)) not in wanted):
            companion._storage.set_trial_user_attr(run._trial_id, WITHDRAWN, True)  # first: it is not a lost one then
            companion._storage.set_trial_state_values(run._trial_id, TrialState.FAIL)


def _attributes(trial: FrozenTrial, run: Due, record: StudyRecord) -> dict[str, Any]:
    stream = SCREENING_STREAM if run.role == SCREENING else CONFIRMATION_STREAM
    configuration = Configuration.model_validate(trial.user_attrs[CONFIGURATION])
    fresh = configuration.model_copy(
        update={
            "seed": trial_seed(record.seed, run.repeat, stream=stream),
            "best_epoch": None,
            "n_threads": None,
            "user_fraction": None,
        }
    )
    return {
        ROLE: run.role,
        CANDIDATE: run.trial,
        RUN_INDEX: run.repeat,
        TRAIN_SEED: split_seed_of_run(record.seed, run.repeat, stream),
        CONFIGURATION: fresh.model_dump(exclude_none=True),
    }

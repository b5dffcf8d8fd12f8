"""From a checked request to a study in the storage: its record, its budget and its first trials."""

import time
from collections.abc import Callable

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.study.attributes import ROLE, STOP_KEY
from hrnn_hpo.study.objectives import directions
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.propose.pruners import make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler, name_of
from hrnn_hpo.study.record import KEY, write_record
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.request.check import CheckedRequest, existing_record
from hrnn_hpo.study.request.widening import widen
from hrnn_hpo.study.storage.database import create_study
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.storage.user_figures import UserFigures, create_table


def begin_or_continue(
    storage: RDBStorage, checked: CheckedRequest, check: Callable[[], CheckedRequest]
) -> tuple[Study, CheckedRequest]:
    """Return the study, with record, budget and first trials written, and the request under which it goes on.

    Trials that it has are left as they are. Where another process has begun the study since the request was checked,
    `check` does that again, against the record that is there now; it raises what contradicts that one. Where the space
    asked for is wider than the recorded one, the trials are written anew with its ranges.
    """
    name, record = checked.request.study, checked.record
    with holding(name, storage, "begin"):
        recorded = existing_record(name, storage)
        if recorded is not None and recorded.uid != record.uid:
            checked = check()
            record = checked.record
        if recorded is not None and recorded.space_fingerprint != record.space_fingerprint:
            widen(name, storage, record)
        create_table(storage)
        max_epochs = checked.space.max_epochs
        figures = UserFigures(storage, record.uid, name, max_epochs).read
        study = create_study(
            name,
            storage,
            sampler=make_sampler(
                checked.sampler,
                record.seed,
                checked.space,
                deterministic=record.deterministic,
                priors=record.priors,
            ),
            pruner=make_pruner(checked.pruner, max_epochs, deterministic=record.deterministic, figures=figures),
            directions=directions(record.objectives),
        )
        if KEY not in study.user_attrs:
            write_record(study, record)
        has_defaults = any(trial.user_attrs.get(ROLE) == "defaults" for trial in study.get_trials(deepcopy=False))
        for role, params in checked.first:
            if role == "enqueued" or not has_defaults:
                with optuna_quiet():  # it tells of trials that are there already
                    study.enqueue_trial(params, user_attrs={ROLE: role}, skip_if_exists=role == "enqueued")
        study.set_user_attr(STOP_KEY, False)
        start_clock(study, checked)
    return study, checked


def start_clock(study: Study, checked: CheckedRequest) -> None:
    """Write the budget of a request into its study; the seconds that it may take count from now."""
    timeout = checked.request.timeout
    budget = Budget(
        n_trials=checked.n_trials,
        sampler=name_of(checked.sampler),
        pruner=name_of(checked.pruner),
        deadline=None if timeout is None else time.time() + timeout,
        patience_trials=checked.request.patience_trials,
        target=checked.request.target,
        keep=checked.keep,
    )
    write_budget(study, budget)

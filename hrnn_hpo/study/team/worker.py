"""One process at work on a study: `worker` joins one that `tune` has begun, and `tune` works itself when alone."""

import time
from collections.abc import Sequence
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import StudyError
from hrnn_hpo.experiment import Device
from hrnn_hpo.study.attributes import CONFIRMS
from hrnn_hpo.study.confirm.confirm_trial import ConfirmLoop, ConfirmObjective
from hrnn_hpo.study.confirm.runs import companion_of, runs_left
from hrnn_hpo.study.propose.pruners import make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.record import check_same, read_record, require_comparable
from hrnn_hpo.study.request.budget import read_budget
from hrnn_hpo.study.request.check import require_known, threads_of
from hrnn_hpo.study.request.part_of_users import require_compared
from hrnn_hpo.study.run.control import Control, signals_ask
from hrnn_hpo.study.run.loop import Callback, Loop
from hrnn_hpo.study.run.observer import Observer, Silent
from hrnn_hpo.study.run.trial import Objective, TrialContext
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.storage.user_figures import UserFigures, create_table
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.tracking import Tracker, git_commit


def work(
    data: Path | Dataset,
    study: str,
    *,
    device: Device = "auto",
    n_threads: int | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    parent: int | None = None,
    observer: Observer | None = None,
) -> str:
    """Run trials of a study that `tune` began, until its budget is used up, and return why it ended.

    `parent` is the process whose end is this worker's too. Raises StudyError where the data is not the study's,
    or where its part of the users was not found to stand for all.
    """
    database = open_storage(storage)
    confirmed = load_study(study, database).user_attrs.get(CONFIRMS)  # the study whose confirmation this one is
    record = read_record(load_study(confirmed or study, database))
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    require_comparable(study, record)
    check_same(study, record, None, data_hash=dataset.content_hash)
    require_compared(load_study(confirmed or study, database), record)
    budget = read_budget(load_study(study, database))
    if budget is None:
        raise StudyError(f"Study {study!r} has no budget yet: `hrnn-hpo tune` begins it, workers join.")
    require_known(study, budget)
    create_table(database)  # a study that an earlier version began has none
    space = record.search_space()
    n_threads = threads_of(record, n_threads)
    found = load_study(
        study,
        database,
        sampler=make_sampler(
            budget.sampler, record.seed, space, deterministic=record.deterministic, priors=record.priors
        ),
        pruner=make_pruner(
            budget.pruner,
            space.max_epochs,
            deterministic=record.deterministic,
            figures=UserFigures(database, record.uid, study, space.max_epochs).read,
        ),
    )
    left = None if budget.deadline is None else budget.deadline - time.time()
    control = Control(left, parent)
    runs = StudyRuns(Tracker(tracking_uri), confirmed or study, record)
    runs.join_parent()
    context = TrialContext(
        record=record,
        dataset=dataset,
        space=space,
        runs=runs,
        control=control,
        device=device,
        n_threads=n_threads,
        observer=observer or Silent(),
        commit=git_commit(),
    )
    with signals_ask(control, "stopping after this epoch; again stops at once"):
        reason = run_here(found, database, budget.n_trials, context)
    with holding(study, database, "begin"):  # whoever begins a confirmation holds this until its runs are queued
        companion = companion_of(found, database)
    if parent is not None or control.ended or companion is None or not runs_left(companion):
        return reason
    return work(
        dataset,
        companion.study_name,
        device=device,
        n_threads=n_threads,
        storage=storage,
        tracking_uri=tracking_uri,
        observer=observer,
    )


def run_here(
    study: Study, storage: RDBStorage, n_trials: int | None, context: TrialContext, callbacks: Sequence[Callback] = ()
) -> str:
    """Run a study's trials, a search's or a confirmation's, in this process; return why it ended.

    Raises what Loop.run raises.
    """
    if CONFIRMS in study.user_attrs:
        return ConfirmLoop(study, storage, ConfirmObjective(context), n_trials, callbacks).run()
    figures = UserFigures(storage, context.record.uid, study.study_name, context.space.max_epochs)
    return Loop(study, storage, Objective(context, figures), n_trials, callbacks).run()

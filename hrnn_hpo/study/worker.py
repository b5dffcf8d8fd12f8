"""One process at work on a study: `worker` joins one that `tune` has begun, and `tune` works itself when alone."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.experiment import Device
from hrnn_hpo.study.confirm import CONFIRMS, ConfirmLoop, ConfirmObjective, companion_of, runs_left
from hrnn_hpo.study.control import Control, signals_ask
from hrnn_hpo.study.fidelity import require_compared
from hrnn_hpo.study.limits import BUDGET_KEY
from hrnn_hpo.study.loop import Callback, Loop
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.objective import Objective, Observer, Silent
from hrnn_hpo.study.record import StudyRecord, check_same, read_record
from hrnn_hpo.study.samplers import make_pruner, make_sampler
from hrnn_hpo.study.setup import max_epochs
from hrnn_hpo.study.storage import load_study, open_storage
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
    check_same(study, record, None, data_hash=dataset.content_hash)
    require_compared(load_study(confirmed or study, database), record)
    budget = load_study(study, database).user_attrs[BUDGET_KEY]
    space = record.search_space()
    n_threads = threads_of(record, n_threads)
    found = load_study(
        study,
        database,
        sampler=make_sampler(budget["sampler"], record.seed, space, deterministic=record.deterministic),
        pruner=make_pruner(budget["pruner"], max_epochs(space), deterministic=record.deterministic),
    )
    left = None if budget["deadline"] is None else budget["deadline"] - time.time()
    control = Control(left, parent)
    mirror = Mirror(Tracker(tracking_uri), confirmed or study, record)
    mirror.join_parent()
    with signals_ask(control, "stopping after this epoch; again stops at once"):
        reason = run_here(
            found,
            database,
            budget["n_trials"],
            record=record,
            dataset=dataset,
            mirror=mirror,
            control=control,
            space=space,
            device=device,
            n_threads=n_threads,
            observer=observer or Silent(),
        )
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
    study: Study, storage: RDBStorage, n_trials: int | None, callbacks: Sequence[Callback] = (), **objective: Any
) -> str:
    """Run a study's trials, a search's or a confirmation's, in this process; return why it ended.

    `objective` are Objective's fields, study and commit aside. Raises what Loop.run raises.
    """
    confirms = CONFIRMS in study.user_attrs
    make = ConfirmObjective if confirms else Objective
    run = make(study=study.study_name, commit=git_commit(), **objective)
    return (ConfirmLoop if confirms else Loop)(study, storage, run, n_trials, callbacks).run()


def threads_of(record: StudyRecord, n_threads: int | None) -> int | None:
    """Return the CPU threads of a trial: one where the study is deterministic, since sums depend on their number."""
    if record.deterministic and n_threads not in (None, 1):
        raise ConfigError(f"--deterministic trains on one thread a trial, but got --threads {n_threads}.")
    return 1 if record.deterministic else n_threads

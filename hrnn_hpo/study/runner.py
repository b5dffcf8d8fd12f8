"""`tune`: a study from the first trial to the leaderboard, begun or continued.

The trials themselves run in loop.py, in this process or in workers; what they share is in the study's record.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import Device, resolve_device
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import best_trial, last_attempts
from hrnn_hpo.study.control import Control, Progress, count_trials, signals_ask
from hrnn_hpo.study.leaderboard import Leaderboard, configuration_of, open_test_part
from hrnn_hpo.study.loop import Callback, Loop
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.objective import Objective, Observer, Silent
from hrnn_hpo.study.results import track_results, write_results
from hrnn_hpo.study.samplers import SamplerLike, make_pruner, make_sampler
from hrnn_hpo.study.setup import Budget, Plan, begin_or_continue, make_plan, set_budget
from hrnn_hpo.study.storage import load_study, open_storage, storage_label
from hrnn_hpo.tracking import Tracker, git_commit


@dataclass(frozen=True)
class StudyResult:
    """What a study has come to when `tune` returns."""

    study: str
    storage: str
    tracking_uri: str
    stopped: str  # why the search ended
    finished: bool  # the budget is used up: the same command would find nothing to do
    trials: Progress
    best_trial: int
    best_value: float
    configuration: Configuration  # the best trial's: what `export` writes
    leaderboard: Leaderboard | None  # None where the search was interrupted
    out: Path | None


def tune(
    data: Path | Dataset,
    study: str,
    space: str | Path | SearchSpace | None = None,
    *,
    n_trials: int | None = None,
    timeout: float | None = None,
    n_workers: int | None = None,
    protocol: Protocol | None = None,
    split_seed: int | None = None,
    objective: str | None = None,
    seed: int | None = None,
    sampler: SamplerLike | None = None,
    pruner: str | BasePruner | None = None,
    enqueue: Sequence[Path | Mapping[str, Any]] = (),
    solution_config: Path | None = None,
    device: Device = "auto",
    out: Path | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    seen: Literal["auto", "remove", "keep"] | None = None,
    again: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    callbacks: Sequence[Callback] = (),
    observer: Observer | None = None,
) -> StudyResult:
    """Search a space and return the best configuration, compared with the defaults and the baselines on test users.

    A study of this name that exists is continued under what it recorded; options left at None take the recorded
    values. `n_trials` counts its complete and pruned trials in total, `timeout` the seconds of this call. `sampler`
    may be a name, an Optuna sampler, or a function from a seed to one (which keeps resumed studies reproducible);
    `extra_metrics` add to the metrics that `objective` may name. With more than one worker, samplers and pruners go by
    name, and metrics and callbacks are not available.

    Raises StudyError where the study began with other settings, RunFailedError when five trials in a row fail or no
    trial completes; both leave what is done in place.
    """
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    resolve_device(device)
    database = open_storage(storage, create=True)
    plan = make_plan(
        dataset,
        study,
        database,
        data=str(data) if isinstance(data, Path) else dataset.name,
        space=space,
        solution_config=solution_config,
        enqueue=enqueue,
        extra_metrics=extra_metrics or {},
        protocol=protocol,
        split_seed=split_seed,
        objective=objective,
        seed=seed,
        sampler=sampler,
        pruner=pruner,
        seen=seen,
        n_trials=n_trials,
        timeout=timeout,
        n_workers=n_workers,
    )
    tracker = Tracker(tracking_uri)  # may fail: before anything is written
    found = begin_or_continue(study, database, plan)
    control = Control(plan.budget.timeout)
    mirror = Mirror(tracker, study, plan.record)
    mirror.open_parent(found)
    run = _Run(found, database, plan, dataset, mirror, control, device, observer or Silent())
    state = "failed"
    try:
        with signals_ask(control, "stopping after this epoch; Ctrl-C again stops at once"):
            run.search(sampler, pruner, extra_metrics, callbacks)
        board = None
        if not control.interrupted and not control.requested:
            board = open_test_part(found, plan.record, dataset, device=device, again=again)
        state = "complete" if board is not None else "stopped"
        result = run.result(board, tracker.uri, out)
        if out is not None:
            write_results(out, found, result)
        return result
    except KeyboardInterrupt:
        state = "stopped"
        raise
    finally:
        track_results(mirror, tracker, found, plan.record)
        mirror.close_parent(state)

"""`tune`: a study from the first trial to the leaderboard, begun or continued.

The trials themselves run in loop.py, in this process (worker.py) or in others (workers.py); what they share is in the
study's record.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import Device, resolve_device
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import last_attempts, read_confirmation, winner_trial
from hrnn_hpo.study.confirm import (
    begin_confirmation,
    check_settings,
    companion_of,
    conclude,
    require_confirmation,
    settle,
)
from hrnn_hpo.study.control import Control, Progress, count_trials, signals_ask
from hrnn_hpo.study.fidelity import check_fidelity
from hrnn_hpo.study.leaderboard import Leaderboard, open_test_part, winning_configuration
from hrnn_hpo.study.limits import BUDGET_KEY, Limits
from hrnn_hpo.study.loop import Callback
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.objective import Observer, Silent
from hrnn_hpo.study.objectives import FrontPoint, pareto_front
from hrnn_hpo.study.planning import plan_ahead
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.results import require_results_target, track_results, write_results
from hrnn_hpo.study.samplers import SamplerLike
from hrnn_hpo.study.setup import begin_or_continue, make_plan, write_budget
from hrnn_hpo.study.storage import open_storage, storage_label
from hrnn_hpo.study.verdict import Confirmation
from hrnn_hpo.study.widening import finish_widening
from hrnn_hpo.study.worker import run_here, threads_of
from hrnn_hpo.study.workers import Addresses, Launcher, make_team, require_names, run_workers
from hrnn_hpo.tracking import Tracker

_log = logging.getLogger(__name__)


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
    leaderboard: Leaderboard | None  # None where the search was interrupted
    out: Path | None


def tune(
    data: Path | Dataset,
    study: str,
    space: str | Path | SearchSpace | None = None,
    *,
    n_trials: int | None = None,
    timeout: float | None = None,
    patience_trials: int | None = None,
    target: float | None = None,
    n_workers: int | None = None,
    n_threads: int | None = None,
    deterministic: bool = False,
    user_fraction: float | None = None,
    launcher: Launcher = "local",
    ray_address: str | None = None,
    gpus_per_trial: float | None = None,
    protocol: Protocol | None = None,
    split_seed: int | None = None,
    objective: str | Sequence[str] | None = None,
    seed: int | None = None,
    sampler: SamplerLike | None = None,
    pruner: str | BasePruner | None = None,
    enqueue: Sequence[Path | Mapping[str, Any]] = (),
    warm_start: str | None = None,
    solution_config: Path | None = None,
    confirm: int | None = None,
    confirm_seeds: int | None = None,
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
    values. `n_trials` counts its complete and pruned trials in total, `timeout` the seconds of this call; the search
    also ends after `patience_trials` trials in a row without a better value, and with the first one that reaches
    `target`. `n_threads` are each trial's CPU threads, by default the cores shared among the workers. The launcher
    `ray` places the workers on the cluster at `ray_address`, each with `n_threads` CPUs and `gpus_per_trial` GPUs (a
    fraction shares one). `deterministic` makes the table independent of the number of workers. `sampler` may be a name,
    an Optuna sampler, or a function from a seed to one (which keeps resumed studies reproducible); `warm_start` names
    an earlier study whose best configurations are tried early; `extra_metrics` add to the metrics that `objective` may
    name. With more than one worker, samplers and pruners go by name, and metrics and callbacks are not available.

    After the search the best `confirm` configurations and the defaults train again, `confirm_seeds` times each (5); the
    winner is the one with the best mean of those. Unless told, as many as half the trials would pay for are confirmed,
    at most five; 0 leaves it out. The time budget is the search's alone.

    With `user_fraction` the search trains on that part of the training users. It begins only where some configurations,
    trained on the part and on all, rank alike (else StudyError), and at least one configuration is confirmed, on all
    users.

    Several objectives (metrics, and the costs `n_parameters` and `seconds`, which are minimized) make a study without a
    pruner, whose `front` is the result; its best trial is the one that is best in the first objective.

    Raises StudyError where the study began with other settings, RunFailedError when five trials in a row fail or no
    trial completes; both leave what is done in place.
    """
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    resolve_device(device)
    check_settings(confirm, confirm_seeds)
    if out is not None:
        require_results_target(out)
    database = open_storage(storage, create=True)
    finish_widening(study, database)
    plan = make_plan(
        dataset,
        study,
        database,
        data=str(data) if isinstance(data, Path) else dataset.name,
        space=space,
        solution_config=solution_config,
        enqueue=enqueue,
        warm=warm_start,
        metrics=list(extra_metrics or ()),
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
        deterministic=deterministic,
        user_fraction=user_fraction,
        limits=Limits(patience_trials, target),
    )
    require_confirmation(confirm, plan.record)
    n_threads = threads_of(plan.record, n_threads)
    for note in plan.notes:
        _log.warning("%s", note)
    tracker = Tracker(tracking_uri)  # may fail, so before anything is written
    team = None
    if launcher == "ray" or plan.budget.n_workers > 1:
        require_names(plan, extra_metrics, callbacks)
        addresses = Addresses(_path_of(data, dataset), database.url, tracker.uri, device, n_threads)
        team = make_team(launcher, addresses, n_workers, plan.budget, gpus_per_trial, ray_address)
    found = begin_or_continue(study, database, plan)
    mirror = Mirror(tracker, study, plan.record)
    mirror.open_parent(found)
    observer = observer or Silent()

    def run_trials(trials_of: Study, n_trials: int | None, timeout: float | None = None) -> str:
        """Run a study's trials, the search's or its confirmation's, here or in workers; return why it ended."""
        done = count_trials(trials_of.get_trials(deepcopy=False)).done
        observer.study_started(plan.record.objective, n_trials, timeout, done)
        if team is not None:
            return run_workers(trials_of, database, replace(plan.budget, n_trials=n_trials), control, team, observer)
        return run_here(
            trials_of,
            database,
            n_trials,
            callbacks if trials_of is found else (),
            record=plan.record,
            dataset=dataset,
            mirror=mirror,
            control=control,
            space=plan.space,
            device=device,
            n_threads=n_threads,
            observer=observer,
            extra_metrics=extra_metrics,
        )

    state = "failed"
    try:
        if plan.record.user_fraction is not None:
            check_fidelity(
                found,
                plan.record,
                dataset,
                plan.space,
                device=device,
                n_threads=n_threads,
                extra_metrics=extra_metrics,
                compared=observer.compared,
            )
        settings = settle(found, confirm, confirm_seeds)
        expected = plan_ahead(dataset, plan, found, companion_of(found, database), settings, device, n_threads)
        if expected is not None:
            observer.planned(expected)
        write_budget(found, plan)  # again: the clock starts now
        control = Control(plan.budget.timeout)
        with signals_ask(control, "stopping after this epoch; Ctrl-C again stops at once"):
            stopped = run_trials(found, plan.budget.n_trials, plan.budget.timeout)
            companion = None
            if not control.ended:
                control.begin_next_phase()
                companion = begin_confirmation(found, plan.record, database, settings)
            if companion is not None:
                run_trials(companion, companion.user_attrs[BUDGET_KEY]["n_trials"])
        board = None
        if not control.ended:
            if companion is not None and conclude(found, plan.record, companion, settings) is None:
                _log.warning("The defaults could not be trained again: there is no verdict on the study's winner.")
            if plan.record.user_fraction is None or read_confirmation(found) is not None:
                board = open_test_part(
                    found, plan.record, dataset, device=device, again=again, extra_metrics=extra_metrics
                )
            else:
                _log.warning("The test users stay closed: no configuration was confirmed on all training users.")
        result = _result(found, stopped, database, tracker, board, out, control)
        state = "stopped" if board is None else "complete"
        if out is not None:
            write_results(out, found)
        return result
    except KeyboardInterrupt:
        state = "stopped"
        raise
    finally:
        if team is not None:
            team.close()
        track_results(mirror, found, companion_of(found, database))
        mirror.close_parent(state)


def _result(
    study: Study,
    stopped: str,
    storage: RDBStorage,
    tracker: Tracker,
    board: Leaderboard | None,
    out: Path | None,
    control: Control,
) -> StudyResult:
    trials = last_attempts(study)
    best = winner_trial(study)
    counts = count_trials(trials)
    if best is None and not control.interrupted:
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
        out=out,
    )


def _path_of(data: Path | Dataset, dataset: Dataset) -> Path:
    if isinstance(data, Path):
        return data
    raise ConfigError(
        f"Worker processes read the data from disk: pass a path instead of the data set {dataset.name!r}."
    )

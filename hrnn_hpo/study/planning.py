"""`tune --plan`: what a study would do and take, told before it starts; and the same for a study that is about to."""

import logging
from pathlib import Path
from typing import Any

from optuna.study import Study

from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import HRNNError, StudyError
from hrnn_hpo.experiment import Device, available_cores, resolve_device
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.confirm import (
    Settings,
    check_settings,
    companion_of,
    confirmation_runs,
    n_confirmed,
    require_confirmation,
    wanted_settings,
)
from hrnn_hpo.study.control import count_trials
from hrnn_hpo.study.forecast import FORECAST_KEY, Forecast, forecast, stored_measure
from hrnn_hpo.study.measure import Measure, measure
from hrnn_hpo.study.setup import Plan, make_plan
from hrnn_hpo.study.storage import has_study, load_study, open_storage
from hrnn_hpo.study.worker import threads_of

_log = logging.getLogger(__name__)


def plan(
    data: Path | Dataset,
    study: str,
    space: str | Path | SearchSpace | None = None,
    *,
    device: Device = "auto",
    n_threads: int | None = None,
    storage: str | None = None,
    confirm: int | None = None,
    confirm_seeds: int | None = None,
    **request: Any,
) -> Forecast:
    """Return what `tune` with the same arguments would take. Nothing is written, no study is created.

    `confirm` and `confirm_seeds` are tune's, `request` are make_plan's arguments. An epoch is measured, unless the
    study exists and knows its speed. Raises what `tune` would raise before its first trial.
    """
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    resolve_device(device)
    check_settings(confirm, confirm_seeds)
    try:
        database = open_storage(storage)
    except StudyError:  # there is none yet
        database = None
    asked = make_plan(
        dataset,
        study,
        database,
        data=str(data) if isinstance(data, Path) else dataset.name,
        space=space,
        **{"solution_config": None, "enqueue": (), **request},
    )
    for note in asked.notes:
        _log.warning("%s", note)
    found = load_study(study, database) if database is not None and has_study(study, database) else None
    require_confirmation(confirm, asked.record)
    settings = wanted_settings(found, confirm, confirm_seeds)
    companion = companion_of(found, database) if found is not None and database is not None else None
    n_threads = threads_of(asked.record, n_threads)
    return _forecast(dataset, asked, study, found, companion, settings, device, n_threads)


def plan_ahead(
    dataset: Dataset,
    asked: Plan,
    study: Study,
    companion: Study | None,
    settings: Settings,
    device: Device,
    n_threads: int | None,
) -> Forecast | None:
    """Return the forecast of a study that is about to run, and keep it there; None where nothing could be measured."""
    try:
        found = _forecast(dataset, asked, study.study_name, study, companion, settings, device, n_threads)
    except (HRNNError, RuntimeError, MemoryError) as error:  # the same configuration will fail as trial 0, on record
        _log.warning("No plan: the defaults could not be measured (%s).", error)
        return None
    study.set_user_attr(FORECAST_KEY, found.content())
    return found


def _forecast(
    dataset: Dataset,
    asked: Plan,
    name: str,
    study: Study | None,
    companion: Study | None,
    settings: Settings,
    device: Device,
    n_threads: int | None,
) -> Forecast:
    known: Measure | None = stored_measure(study) if study is not None else None
    if known is None:
        n_threads = n_threads or max(1, available_cores() // asked.budget.n_workers)
        known = measure(dataset, asked.space, asked.record, device=device, n_threads=n_threads)
    n_done = count_trials(study.get_trials(deepcopy=False)).done if study is not None else 0

    def confirm_runs(n_trials: int | None) -> int:
        k = n_confirmed(settings, n_trials or 0, asked.record)
        if n_trials is not None:
            k = min(k, n_trials - 1)  # the defaults are one of the trials
        done = [run for run in confirmation_runs(companion) if run.state.name == "COMPLETE"] if companion else []
        return max((k + 1) * settings.n_seeds - len(done), 0) if k > 0 else 0

    return forecast(asked, known, name, n_done=n_done, confirm_runs=confirm_runs)

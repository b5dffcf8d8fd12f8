"""`tune --plan`: what a study would do and take, told before it starts; and the same for a study that is about to."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.cores import default_threads
from hrnn_hpo.data.prepared import load_dataset, prepare
from hrnn_hpo.data.reading.options import KEYWORDS, ReadOptions, read_options
from hrnn_hpo.data.reading.source import SourceLike
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import REDRAWN, SINGLE_TRUTH, Split, make_split
from hrnn_hpo.errors import ConfigError, HRNNError, StudyError
from hrnn_hpo.evaluation.metrics import COVERAGE, METRICS
from hrnn_hpo.experiment import resolve_device
from hrnn_hpo.search.amazon.solution_file import solution_filters
from hrnn_hpo.study.confirm.agenda import confirmation_runs, n_staying, screening_runs
from hrnn_hpo.study.confirm.leaderboard import read_leaderboard
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirm.screening import round_sizes
from hrnn_hpo.study.confirm.settings import Settings, how_many, wanted_settings
from hrnn_hpo.study.confirm.verdict import level_of_next
from hrnn_hpo.study.forecast.forecast import (
    FORECAST_KEY,
    Forecast,
    Trainings,
    forecast,
    seconds_per_refit,
    stored_measure,
)
from hrnn_hpo.study.forecast.measure import Measure, measure
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.request.check import CheckedRequest, check_request
from hrnn_hpo.study.request.request import StudyRequest, study_request
from hrnn_hpo.study.resolution import (
    PRIOR,
    PRIOR_OF_ONE_EVENT,
    REDRAWN_POOL,
    Design,
    Resolution,
    detectable_gain,
    resolution,
)
from hrnn_hpo.study.storage.database import has_study, load_study, open_storage
from hrnn_hpo.study.trials import progress_of, read_confirmation

READING = frozenset({*KEYWORDS, *ReadOptions.model_fields})  # what is said about the log, not about the study
GOAL = 0.005  # a gain that is worth having, whose number of seeds a plan tells
MIN_TRIALS_TO_MEASURE = 3  # an epoch and six slices of one are measured: a tenth of a trial or more
_log = logging.getLogger(__name__)


def plan(data: Dataset | SourceLike, request: StudyRequest | None = None, **fields: Any) -> Forecast:
    """Return what `tune` with the same arguments would take. Nothing is written, no study is created.

    An epoch is measured, unless the study exists and knows its speed. Raises what `tune` would raise before its first
    trial.
    """
    reading = {name: fields.pop(name) for name in list(fields) if name in READING}
    asked = study_request(request, **fields)
    source = data_on_disk(data, asked, reading)
    dataset = source if isinstance(source, Dataset) else load_dataset(source)
    resolve_device(asked.device)
    try:
        database = open_storage(asked.storage)
    except StudyError:  # there is none yet
        database = None
    checked = check_request(dataset, asked, database, data=str(source) if isinstance(source, Path) else dataset.name)
    for note in checked.notes:
        _log.warning("%s", note)
    there = database is not None and has_study(asked.study, database)
    found = load_study(asked.study, database) if database is not None and there else None
    settings = wanted_settings(found, asked.confirm, asked.confirm_seeds, asked.ensemble, asked.screen)
    return _forecast(dataset, checked, found, database, settings)


def data_on_disk(data: Dataset | SourceLike, request: StudyRequest, reading: Mapping[str, Any]) -> Path | Dataset:
    """Return a path from which every worker reads the same log; a Dataset stays what it is.

    What needs more than a path to be read (a DataFrame, several files, options, the eventType and eventValueThreshold
    of a solutionConfig) is prepared in the cache.
    """
    chosen = {} if request.solution_config is None else solution_filters(request.solution_config)
    if isinstance(data, Dataset):
        if reading or chosen:
            told = ", ".join([*reading, *chosen])
            raise ConfigError(f"A Dataset has been read already, so nothing is left to choose by {told}.")
        return data
    if isinstance(data, str | Path) and not reading and not chosen:
        return Path(data)
    return prepare(data, options=read_options(**reading).with_solution_filters(**chosen))


def plan_ahead(
    dataset: Dataset, checked: CheckedRequest, study: Study, storage: RDBStorage, settings: Settings
) -> Forecast | None:
    """Return the forecast of a study that is about to run, and keep it there.

    None where nothing could be measured, and where so few trials are to come that measuring would take longer than it
    is worth.
    """
    n_done = progress_of(study).done
    few = checked.n_trials is not None and checked.n_trials - n_done < MIN_TRIALS_TO_MEASURE
    if few and stored_measure(study) is None:
        return None
    try:
        found = _forecast(dataset, checked, study, storage, settings)
    except (HRNNError, RuntimeError, MemoryError) as error:  # the same configuration will fail as trial 0, on record
        _log.warning("No plan: the defaults could not be measured (%s).", error)
        return None
    study.set_user_attr(FORECAST_KEY, found.content())
    return found


def _forecast(
    dataset: Dataset, checked: CheckedRequest, study: Study | None, storage: RDBStorage | None, settings: Settings
) -> Forecast:
    known: Measure | None = stored_measure(study) if study is not None else None
    if known is None:
        n_threads = checked.n_threads or default_threads(checked.n_workers)
        known = measure(dataset, checked.space, checked.record, device=checked.request.device, n_threads=n_threads)
    companion = companion_of(study, storage) if study is not None and storage is not None else None
    n_done = progress_of(study).done if study is not None else 0

    staying = 0 if companion is None else n_staying(companion)

    def challengers(n_trials: int | None) -> int:
        k = how_many(settings, n_trials or 0, checked.record, companion).confirmed
        if k > 0:
            k = max(k, staying)  # those of an earlier confirmation are in this one too; others may have overtaken them
        return k if n_trials is None else min(k, n_trials - 1)  # the defaults are one of the trials

    def to_come(n_trials: int | None) -> Trainings:
        k = challengers(n_trials)
        if k <= 0:
            return Trainings()
        done = [run for run in confirmation_runs(companion) if run.state.name == "COMPLETE"] if companion else []
        screened = how_many(settings, n_trials or 0, checked.record, companion).screened
        rounds = round_sizes(screened if n_trials is None else min(screened, n_trials - 1), k)
        over = [run for run in screening_runs(companion) if run.state.name == "COMPLETE"] if companion else []
        left = [max(min(size, sum(rounds[: i + 1]) - len(over)), 0) for i, size in enumerate(rounds)]
        n_confirming = max((k + 1) * settings.n_seeds - len(done), 0)
        return Trainings([n for n in left if n], n_confirming, min(settings.n_seeds, n_confirming))

    record = checked.record
    split = make_split(dataset, record.protocol, record.split_seed, n_held_back=record.n_held_back or 0)
    n_users = 0 if split.validation is None else len(split.validation)
    found = forecast(checked, known, checked.request.study, n_users, n_done=n_done, to_come=to_come)
    k = challengers(None if found.n_trials is None else n_done + found.n_trials)
    goes_on = found.n_trials != 0 or found.confirm_runs > 0 or found.screening_runs > 0
    seen = _resolution(split, record, study, settings.n_seeds, max(k, 1), goes_on=goes_on)
    opened = study is not None and read_leaderboard(study) is not None and not checked.request.again
    refits = 0 if opened or k <= 0 else 2 + (settings.n_seeds - 1) * settings.ensemble  # winner, defaults, members
    seconds = refits * seconds_per_refit(checked, known, checked.request.study)
    return replace(found, resolution=seen, challengers=max(k, 0), refits=refits, refit_seconds=seconds)


def _resolution(
    split: Split, record: StudyRecord, study: Study | None, n_seeds: int, n_challengers: int, *, goes_on: bool
) -> Resolution | None:
    """Return what a confirmation can tell on this data; None where it has no users to tell by.

    Where the study has been judged and `goes_on`, its next look is the stricter one that other runs are judged at.

    The deviations are those of the study's own confirmation where it has one, else assumed: of a metric of one's own,
    whose unit may be any, nothing is.
    """
    redrawn = record.protocol in REDRAWN
    judged = split.validation if redrawn else split.held_back
    if judged is None or record.objective == COVERAGE:  # which has no figure per user
        return None
    confirmation = read_confirmation(study) if study is not None else None
    known = confirmation.resolution if confirmation is not None else None
    if known is None and record.objective not in METRICS:
        return None
    n_pool = REDRAWN_POOL * len(judged) if redrawn else len(judged)
    next_alpha = level_of_next(() if confirmation is None else confirmation.looks)
    alpha = next_alpha if confirmation is None or goes_on else confirmation.alpha
    design = Design(len(judged), n_pool, n_challengers, alpha)
    prior = PRIOR_OF_ONE_EVENT if record.protocol in SINGLE_TRUTH else PRIOR
    spread = prior if known is None else known.spread
    seen = detectable_gain(design, spread, n_seeds)
    gains = (seen / 2, GOAL) if record.objective in METRICS else (seen / 2,)
    wanted = [gain for gain in gains if gain < seen]
    return resolution(record.objective, design, spread, n_seeds, wanted, next_alpha=next_alpha)

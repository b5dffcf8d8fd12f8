"""What a request means for this data and this study, checked as a whole before anything is written.

A new study gets a record; one that exists goes on under the record it has.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage

from hrnn_hpo.data.ingest import check_minimum
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import LEAST_VALIDATION, REDRAWN, make_split, n_to_hold_back
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.evaluation.metrics import COVERAGE
from hrnn_hpo.evaluation.protocols import resolve_seen
from hrnn_hpo.experiment import prepare_experiment
from hrnn_hpo.search.amazon.personalize import SolutionConfig, read_solution_config
from hrnn_hpo.search.space import SearchSpace, Value, load_space
from hrnn_hpo.study.objectives import NO_PRUNER, check_objectives, check_several
from hrnn_hpo.study.propose.pruners import (
    AFTER_EPOCHS,
    BY_USER,
    DEFAULT_KEEP,
    epochs_before_pruning,
    is_pruner,
    make_pruner,
)
from hrnn_hpo.study.propose.samplers import SAMPLERS, make_sampler, name_of
from hrnn_hpo.study.record import StudyRecord, check_same, in_space, new_record, read_record, require_comparable
from hrnn_hpo.study.request.budget import Budget
from hrnn_hpo.study.request.enqueue import enqueued
from hrnn_hpo.study.request.part_of_users import N_COMPARED
from hrnn_hpo.study.request.request import PrunerLike, SamplerLike, StudyRequest, study_request
from hrnn_hpo.study.request.warm_start import warm_start
from hrnn_hpo.study.request.widening import widened, widening_notes
from hrnn_hpo.study.storage.database import has_study, load_study
from hrnn_hpo.study.storage.names import is_empty, require_names_beside

DEFAULT_N_TRIALS = 40  # the most training jobs that Amazon's service ran for one solution
DEFAULT_SPACE_OF_SOLUTIONS = "aws-hrnn"


@dataclass(frozen=True)
class CheckedRequest:
    """A request with everything settled: what to search, for how long, and what to try first."""

    request: StudyRequest
    record: StudyRecord
    space: SearchSpace
    sampler: SamplerLike
    pruner: PrunerLike
    n_trials: int | None
    n_workers: int
    n_threads: int | None
    keep: int | None = None  # trials that the pruner `epochs:K` finishes; None with other pruners
    first: list[tuple[str, dict[str, Value]]] = field(default_factory=list)  # role and parameters of enqueued trials
    notes: tuple[str, ...] = ()


def check_request(
    dataset: Dataset, request: StudyRequest, storage: RDBStorage | None, *, data: str, metrics: Sequence[str] = ()
) -> CheckedRequest:
    """Return what a request means for a study, new or continued. Nothing is written; without a storage it is new.

    `data` is the data's name for messages and commands, `metrics` those that the caller adds. Raises ConfigError,
    SpaceError or DataError for what cannot be done, StudyError for what contradicts the study.
    """
    if storage is not None:
        require_names_beside(request.study, storage)
    recorded = existing_record(request.study, storage)
    request, asked, notes = _obey_solution_config(request, recorded)
    objectives = check_objectives(request.objective, metrics)
    if recorded is not None:
        require_comparable(request.study, recorded)
        record, told = _continued(dataset, request, recorded, asked, objectives)
        notes += told
    else:
        record = _new(dataset, request, asked, objectives, data)
    space = record.search_space() if recorded is not None or asked is None else asked
    if request.confirm == 0 and record.user_fraction is not None:
        raise ConfigError("A search on a part of the users must be confirmed on all: `--confirm >= 1`, but got 0.")
    if request.ensemble and request.confirm == 0:
        raise ConfigError("`--ensemble` averages refits of a confirmed winner: `--confirm >= 1` must hold, but got 0.")
    if recorded is not None:
        require_known(
            request.study, record, [key for key in ("sampler", "pruner") if getattr(request, key) is not None]
        )
    sampler, pruner = request.sampler or record.sampler, request.pruner or record.pruner
    check_several(record.objectives, name_of(sampler), name_of(pruner))
    make_sampler(sampler, record.seed, space, deterministic=record.deterministic, priors=record.priors)
    make_pruner(pruner, space.max_epochs)
    if pruner in BY_USER and record.objective == COVERAGE:
        raise ConfigError(
            f"--pruner {pruner} compares users, but {COVERAGE} is no mean over users: choose another one."
        )
    keep = _keep(request, record, pruner, space.max_epochs)
    prepare_experiment(dataset, record.configuration(space.resolve({})), record.seen)  # raises where it cannot be split
    if recorded is None and request.confirm != 0:
        notes += _hold_back_notes(record)
    if record.user_fraction is not None:
        notes.append(_fraction_note(record.user_fraction))
    first, told = _first_trials(request, storage, record, space)
    notes += told
    n_trials = request.n_trials
    if n_trials is None and request.timeout is None and request.patience_trials is None:
        n_trials = DEFAULT_N_TRIALS
    return CheckedRequest(
        request=request,
        record=record,
        space=space,
        sampler=sampler,
        pruner=pruner,
        n_trials=n_trials,
        n_workers=request.n_workers or 1,
        n_threads=threads_of(record, request.n_threads),
        keep=keep,
        first=first,
        notes=tuple(notes),
    )


def _keep(request: StudyRequest, record: StudyRecord, pruner: PrunerLike, max_epochs: int) -> int | None:
    """Return how many trials are finished after all had K epochs; None where the pruner is not `epochs:K`."""
    n_epochs = epochs_before_pruning(pruner) if isinstance(pruner, str) else None
    if n_epochs is None:
        if request.keep is not None:
            raise ConfigError(
                f"--keep says how many trials --pruner {AFTER_EPOCHS}K finishes, but the pruner is {name_of(pruner)}."
            )
        return None
    if n_epochs >= max_epochs:
        raise ConfigError(
            f"--pruner {AFTER_EPOCHS}K: `K < {max_epochs}`, the most epochs of a trial, must hold, but got {n_epochs}."
        )
    if request.timeout is not None or request.patience_trials is not None:
        raise ConfigError(
            f"With --pruner {pruner} no trial is at its end before all have begun: only --n-trials may limit the "
            "search, neither --timeout nor --patience-trials."
        )
    return request.keep or record.keep or DEFAULT_KEEP


def existing_record(name: str, storage: RDBStorage | None) -> StudyRecord | None:
    """Return the record of a study, None for one that is still to begin."""
    if storage is None or not has_study(name, storage):
        return None
    study = load_study(name, storage)
    return None if is_empty(study) else read_record(study)


def require_known(study: str, told: StudyRecord | Budget, given: Collection[str] = ()) -> None:
    """Raise ConfigError where a study's sampler or pruner was code of its own and is not given again."""
    for key, is_known in (("sampler", SAMPLERS.__contains__), ("pruner", is_pruner)):
        if key not in given and not is_known(getattr(told, key)):
            raise ConfigError(
                f"Study {study!r} has a {key} of its own, {getattr(told, key)}, which only its code knows: hand it to "
                f"`tune` in Python again ({key}=…), or choose another one by `tune --{key}`."
            )


def threads_of(record: StudyRecord, n_threads: int | None) -> int | None:
    """Return the CPU threads of a trial: one where the study is deterministic, since sums depend on their number."""
    if record.deterministic and n_threads not in (None, 1):
        raise ConfigError(f"--deterministic trains on one thread a trial, but got --threads {n_threads}.")
    return 1 if record.deterministic else n_threads


def _obey_solution_config(
    request: StudyRequest, record: StudyRecord | None
) -> tuple[StudyRequest, SearchSpace | None, list[str]]:
    """Return the request with a solutionConfig's wishes filled in, the space asked for, and what to tell about it."""
    asked = load_space(request.space) if isinstance(request.space, str | Path) else request.space
    if request.solution_config is None:
        return request, asked, []
    if asked is None:
        asked = record.search_space() if record is not None else load_space(DEFAULT_SPACE_OF_SOLUTIONS)
    solution: SolutionConfig = read_solution_config(request.solution_config, asked)
    wishes: dict[str, Any] = {}
    if not request.objective and solution.objective:
        wishes["objective"] = solution.objective
    if request.n_trials is None and request.timeout is None and solution.limits.n_trials:
        wishes["n_trials"] = solution.limits.n_trials
    if request.n_workers is None and solution.limits.n_workers:
        wishes["n_workers"] = solution.limits.n_workers
    return study_request(request, **wishes), solution.space, list(solution.notes)


def _asked_facts(dataset: Dataset, request: StudyRequest, objectives: Sequence[str]) -> dict[str, Any]:
    """Return what a record would say of the request; None for what is not asked."""
    facts: dict[str, Any] = {name: getattr(request, name) for name in ("protocol", "split_seed", "seed")}
    facts["seen"] = None if request.seen is None else resolve_seen(dataset, request.seen)
    facts["objective"] = objectives[0] if objectives else None
    if objectives:
        facts["more_objectives"] = list(objectives[1:])
    facts["priors"] = request.priors
    return facts | {"deterministic": request.deterministic or None, "user_fraction": request.user_fraction}


def _continued(
    dataset: Dataset,
    request: StudyRequest,
    record: StudyRecord,
    asked: SearchSpace | None,
    objectives: Sequence[str],
) -> tuple[StudyRecord, list[str]]:
    """Return the record under which a study goes on, in a wider space where one is asked for, and what to tell."""
    wider = widened(record, asked) if asked is not None else None
    facts = _asked_facts(dataset, request, objectives)
    check_same(request.study, record, None if wider else asked, data_hash=dataset.content_hash, **facts)
    if wider and asked is not None:
        return in_space(record, asked), widening_notes(record, wider)
    if asked is not None and asked.priors() != record.search_space().priors():
        return record, ["The study goes on with the priors that it began with, not with those of the space given now."]
    return record, []


def _new(
    dataset: Dataset, request: StudyRequest, asked: SearchSpace | None, objectives: Sequence[str], data: str
) -> StudyRecord:
    """Return the record of a study that begins."""
    if asked is None:
        raise ConfigError(
            f"Study {request.study!r} is new: --space says what to search (`hrnn-hpo spaces` lists them)."
        )
    facts = _asked_facts(dataset, request, objectives)
    defaults = {"protocol": "personalize", "split_seed": 0, "objective": "ndcg_at_10", "seed": 0}
    facts |= {key: value for key, value in defaults.items() if facts[key] is None}
    facts["seen"] = facts["seen"] or resolve_seen(dataset, "auto")
    facts["deterministic"] = request.deterministic
    facts["priors"] = request.priors is not False
    check_minimum(dataset)
    return new_record(
        asked,
        data=data,
        data_hash=dataset.content_hash,
        n_held_back=n_to_hold_back(make_split(dataset, facts["protocol"], facts["split_seed"])),
        sampler=name_of(request.sampler or "tpe"),
        pruner=name_of(request.pruner or ("median" if len(objectives) < 2 else NO_PRUNER)),
        keep=request.keep,
        **facts,
    )


def _first_trials(
    request: StudyRequest, storage: RDBStorage | None, record: StudyRecord, space: SearchSpace
) -> tuple[list[tuple[str, dict[str, Value]]], list[str]]:
    """Return the trials to queue before the sampler proposes any, the defaults first, and what to tell about them."""
    queued, notes = enqueued(request.enqueue, space)
    first = [("defaults", space.varied(space.defaults())), *(("enqueued", params) for params in queued)]
    if request.warm_start == request.study:
        raise ConfigError(
            f"--warm-start takes configurations from another study, but got this one's name, {request.study!r}."
        )
    if request.warm_start is not None:
        if storage is None:
            raise StudyError(f"--warm-start {request.warm_start}: there is no study storage yet.")
        known, told = warm_start(request.warm_start, storage, record, space)
        first += [("enqueued", params) for params in known]
        notes += told
    return first, notes


def _hold_back_notes(record: StudyRecord) -> list[str]:
    if record.protocol in REDRAWN:
        return []
    if record.n_held_back:
        return [
            f"{record.n_held_back:,} validation users are held back from the search: a confirmation is judged on them "
            f"alone, since `{record.protocol}` has no others to draw."
        ]
    return [
        f"`{record.protocol}` draws no users anew, and fewer than {LEAST_VALIDATION} validation users are too few to "
        "hold some back: a confirmation will not be able to call the winner better than the defaults."
    ]


def _fraction_note(fraction: float) -> str:
    return (
        f"The search trains on {fraction:.0%} of the training users, once {N_COMPARED} configurations have shown that "
        "this ranks them as all users do (which is not part of the plan). The confirmation trains on all."
    )

"""What a study is asked to do, checked as a whole before anything is written, then written down.

A new study gets a record and its first trials; one that exists goes on under the record it has.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.evaluation.protocols import resolve_seen
from hrnn_hpo.experiment import prepare_experiment
from hrnn_hpo.search.personalize import SolutionConfig, read_solution_config
from hrnn_hpo.search.space import SearchSpace, Value, load_space
from hrnn_hpo.stores import study_folder
from hrnn_hpo.study.attributes import ROLE
from hrnn_hpo.study.control import STOP_KEY
from hrnn_hpo.study.enqueue import enqueued
from hrnn_hpo.study.fidelity import N_COMPARED
from hrnn_hpo.study.limits import BUDGET_KEY, NO_LIMITS, Limits
from hrnn_hpo.study.objectives import NO_PRUNER, check_objectives, check_several, directions
from hrnn_hpo.study.record import KEY, StudyRecord, check_same, in_space, new_record, read_record, write_record
from hrnn_hpo.study.samplers import SamplerLike, make_pruner, make_sampler, name_of
from hrnn_hpo.study.storage import create_study, has_study, load_study
from hrnn_hpo.study.warm_start import warm_start
from hrnn_hpo.study.widening import widen, widened, widening_notes

DEFAULT_N_TRIALS = 40  # the most training jobs that Amazon's service ran for one solution
DEFAULT_SPACE_OF_SOLUTIONS = "aws-hrnn"


@dataclass(frozen=True)
class Budget:
    """How long to search: complete and pruned trials in total, seconds of this call, processes at once, limits."""

    n_trials: int | None
    timeout: float | None = None
    n_workers: int = 1
    limits: Limits = NO_LIMITS


@dataclass(frozen=True)
class Plan:
    """A checked request: what to search, for how long, and what to try first."""

    record: StudyRecord
    space: SearchSpace
    budget: Budget
    sampler: SamplerLike
    pruner: str | BasePruner
    first: list[tuple[str, dict[str, Value]]] = field(default_factory=list)  # role and parameters of enqueued trials
    notes: tuple[str, ...] = ()


def make_plan(
    dataset: Dataset,
    name: str,
    storage: RDBStorage | None,
    *,
    data: str,
    space: str | Path | SearchSpace | None,
    solution_config: Path | None,
    enqueue: Sequence[Path | Mapping[str, Any]],
    warm: str | None = None,
    metrics: Sequence[str] = (),
    protocol: Any = None,
    split_seed: int | None = None,
    objective: str | Sequence[str] | None = None,
    seed: int | None = None,
    sampler: SamplerLike | None = None,
    pruner: str | BasePruner | None = None,
    seen: Literal["auto", "remove", "keep"] | None = None,
    deterministic: bool = False,
    user_fraction: float | None = None,
    n_trials: int | None = None,
    timeout: float | None = None,
    n_workers: int | None = None,
    limits: Limits = NO_LIMITS,
) -> Plan:
    """Return the plan of a study, new or continued. Nothing is written; without a storage, every study is new.

    Raises ConfigError, SpaceError or DataError for what cannot be done, StudyError for what contradicts the study.
    """
    record = _existing_record(name, storage)
    asked = load_space(space) if isinstance(space, str | Path) else space
    solution = _solution(solution_config, asked, record)
    if solution is not None:
        asked, objective = solution.space, objective or solution.objective or None
        n_trials = n_trials or (solution.limits.n_trials if timeout is None else None)
        n_workers = n_workers or solution.limits.n_workers
    notes = list(solution.notes) if solution is not None else []
    _check_numbers(n_trials, timeout, n_workers)
    if user_fraction is not None and not 0 < user_fraction < 1:
        raise ConfigError(f"`0 < --user-fraction < 1` must hold, but got {user_fraction}.")
    objectives = check_objectives(objective, metrics)
    if protocol == "none":
        raise ConfigError("A study needs validation users, but protocol `none` trains on everyone.")
    ranked = None if seen is None else resolve_seen(dataset, seen)
    facts: dict[str, Any] = {"protocol": protocol, "split_seed": split_seed, "seed": seed, "seen": ranked}
    facts |= {"objective": objectives[0], "more_objectives": objectives[1:]} if objectives else {"objective": None}
    facts |= {"deterministic": deterministic or None, "user_fraction": user_fraction}
    if record is not None:
        wider = widened(record, asked) if asked is not None else None
        check_same(name, record, None if wider else asked, data_hash=dataset.content_hash, **facts)
        if wider and asked is not None:
            notes += widening_notes(record, wider)
            record = in_space(record, asked)
        asked = record.search_space()
    else:
        if asked is None:
            raise ConfigError(f"Study {name!r} is new: --space says what to search (`hrnn-hpo spaces` lists them).")
        defaults = {"protocol": "personalize", "split_seed": 0, "objective": "ndcg_at_10", "seed": 0}
        facts |= {key: value for key, value in defaults.items() if facts[key] is None}
        facts["seen"] = ranked or resolve_seen(dataset, "auto")
        facts["deterministic"] = deterministic
        record = new_record(
            asked,
            data=data,
            data_hash=dataset.content_hash,
            sampler=name_of(sampler or "tpe"),
            pruner=name_of(pruner or ("median" if len(objectives) < 2 else NO_PRUNER)),
            **facts,
        )
    sampler, pruner = sampler or record.sampler, pruner or record.pruner
    check_several(record.objectives, name_of(sampler), name_of(pruner))
    make_sampler(sampler, record.seed, asked, deterministic=record.deterministic)
    make_pruner(pruner, max_epochs(asked))
    configuration = Configuration(
        hyperparameters=asked.resolve({}), protocol=record.protocol, split_seed=record.split_seed
    )
    prepare_experiment(dataset, configuration, record.seen)  # raises where this data cannot be split so
    if record.user_fraction is not None:
        notes.append(_fraction_note(record.user_fraction))
    queued, told = enqueued(enqueue, asked)
    first = [("defaults", asked.varied(asked.defaults())), *(("enqueued", params) for params in queued)]
    notes += told
    if warm is not None:
        if storage is None:
            raise StudyError(f"--warm-start {warm}: there is no study storage yet.")
        known, told = warm_start(warm, storage, record, asked)
        first += [("enqueued", params) for params in known]
        notes += told
    if n_trials is None and timeout is None and limits.patience_trials is None:
        n_trials = DEFAULT_N_TRIALS
    return Plan(
        record=record,
        space=asked,
        budget=Budget(n_trials, timeout, n_workers or 1, limits),
        sampler=sampler,
        pruner=pruner,
        first=first,
        notes=tuple(notes),
    )


def begin_or_continue(name: str, storage: RDBStorage, plan: Plan) -> Study:
    """Return the study, with record, budget and first trials written; trials that it has are left as they are.

    Where the plan's space is wider than the recorded one, the trials are written anew with its ranges.
    """
    folder = study_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "setup.lock"):
        recorded = _existing_record(name, storage)
        if recorded is not None and recorded.space_fingerprint != plan.record.space_fingerprint:
            widen(name, storage, plan.record)
        study = create_study(
            name,
            storage,
            sampler=make_sampler(plan.sampler, plan.record.seed, plan.space, deterministic=plan.record.deterministic),
            pruner=make_pruner(plan.pruner, max_epochs(plan.space), deterministic=plan.record.deterministic),
            directions=directions(plan.record.objectives),
        )
        if KEY not in study.user_attrs:
            write_record(study, plan.record)
        has_defaults = any(trial.user_attrs.get(ROLE) == "defaults" for trial in study.get_trials(deepcopy=False))
        for role, params in plan.first:
            if role == "enqueued" or not has_defaults:
                study.enqueue_trial(params, user_attrs={ROLE: role}, skip_if_exists=role == "enqueued")
        study.set_user_attr(STOP_KEY, False)
        write_budget(study, plan)
    return study


def write_budget(study: Study, plan: Plan) -> None:
    """Record what workers need to know: how far to go, until when, and how to propose and prune."""
    timeout = plan.budget.timeout
    study.set_user_attr(
        BUDGET_KEY,
        {
            "n_trials": plan.budget.n_trials,
            "deadline": None if timeout is None else time.time() + timeout,
            "sampler": name_of(plan.sampler),
            "pruner": name_of(plan.pruner),
            **asdict(plan.budget.limits),
        },
    )


def max_epochs(space: SearchSpace) -> int:
    """Return the most epochs that a trial of the space may take."""
    if "epochs" in space.searched:
        return int(space.searched["epochs"].high)
    return int(space.constants.get("epochs", Hyperparameters.model_fields["epochs"].default))


def _existing_record(name: str, storage: RDBStorage | None) -> StudyRecord | None:
    if storage is None or not has_study(name, storage):
        return None
    study = load_study(name, storage)
    # Without record and trials, it is a study whose process died in the moment of its creation.
    return None if KEY not in study.user_attrs and not study.get_trials(deepcopy=False) else read_record(study)


def _solution(path: Path | None, asked: SearchSpace | None, record: StudyRecord | None) -> SolutionConfig | None:
    if path is None:
        return None
    if asked is None:
        asked = record.search_space() if record is not None else load_space(DEFAULT_SPACE_OF_SOLUTIONS)
    return read_solution_config(path, asked)


def _fraction_note(fraction: float) -> str:
    return (
        f"The search trains on {fraction:.0%} of the training users, once {N_COMPARED} configurations have shown that "
        "this ranks them as all users do (which is not part of the plan). The confirmation trains on all."
    )


def _check_numbers(n_trials: int | None, timeout: float | None, n_workers: int | None) -> None:
    for option, number in (("--n-trials", n_trials), ("--timeout", timeout), ("--workers", n_workers)):
        if number is not None and number <= 0:
            raise ConfigError(f"`{option} > 0` must hold, but got {number}.")

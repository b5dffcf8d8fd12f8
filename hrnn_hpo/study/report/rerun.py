"""The commands that repeat a study: search again, export the winner, train it."""

import itertools
import shlex
from collections.abc import Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.data.splits import REDRAWN
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIGURATION, ROLE
from hrnn_hpo.study.confirm.screening import default_n_screened
from hrnn_hpo.study.confirm.settings import Settings, how_many, wanted_settings
from hrnn_hpo.study.propose.pruners import is_pruner
from hrnn_hpo.study.propose.samplers import SAMPLERS
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.request.budget import BUDGET_KEY
from hrnn_hpo.study.trials import best_trial, count_trials, read_confirmation

OWN_SPACE = "space.yaml"  # where the recorded space is saved, if it is not a shipped one


def commands(
    study: Study, record: StudyRecord, trials: Sequence[FrozenTrial], space: SearchSpace, *, storage: str | None = None
) -> list[str]:
    """Return the command lines, ready for a shell; a storage that is not the embedded one is named."""
    name = study.study_name
    place = ["--storage", storage] if storage else []
    best = best_trial(list(trials))
    told: list[tuple[str, Any]] = [
        ("--space", space.name if space.path is not None else OWN_SPACE),
        ("--study", f"{name}-again"),
        ("--n-trials", count_trials(list(trials)).done or None),  # where none is done, as many as `tune` says
        ("--protocol", record.protocol),
        ("--split-seed", record.split_seed),
        *(("--objective", name) for name in record.objectives),
        ("--seed", record.seed),
        ("--sampler", record.sampler if record.sampler in SAMPLERS else None),
        ("--pruner", record.pruner if is_pruner(record.pruner) else None),
        ("--keep", record.keep),
        ("--seen", record.seen),
        ("--user-fraction", record.user_fraction),
        ("--threads", best.user_attrs.get(CONFIGURATION, {}).get("n_threads") if best else None),
    ]
    confirmation = read_confirmation(study)
    if confirmation is not None:
        n_confirmed = len(confirmation.contenders) + len(confirmation.failed) - 1
        told.append(("--confirm", n_confirmed))
        told.append(("--confirm-seeds", confirmation.n_seeds))
        # Those of earlier looks stay in the contest and may be more than were screened: then all of them are confirmed.
        n_screened = len(confirmation.screened) if len(confirmation.screened) > n_confirmed else 0
        if n_screened or default_n_screened(count_trials(list(trials)).done):
            told.append(("--screen", n_screened))
    elif record.user_fraction is None and how_many(Settings(), count_trials(list(trials)).done, record).confirmed:
        told.append(("--confirm", 0))
    enqueued = _enqueued(trials)
    exports = [
        _export(name, ["--trial", trial.number, "--out", f"trial-{trial.number}.yaml", *place]) for trial in enqueued
    ]
    options = [word for option, value in told if value is not None for word in (option, value)]
    options += ["--deterministic"] if record.deterministic else []
    options += ["--ensemble"] if confirmation is not None and wanted_settings(study, None, None).ensemble else []
    options += ["--no-priors"] if space.priors() and not record.priors else []
    options += [word for trial in enqueued for word in ("--enqueue", f"trial-{trial.number}.yaml")]
    lines = [*exports, ["tune", record.data, *options, *place]]
    if best is not None:
        lines.append(_export(name, ["--out", "best.yaml", *place]))
        lines.append(["train", record.data, "--config", "best.yaml", "--seen", record.seen, "--out", f"models/{name}"])
    return [shlex.join(["hrnn-hpo", *map(str, line)]) for line in lines]


def _export(name: str, options: list[Any]) -> list[Any]:
    return ["export", *options, "--", name] if name.startswith("-") else ["export", name, *options]


def rerun_notes(study: Study, record: StudyRecord, trials: Sequence[FrozenTrial], space: SearchSpace) -> list[str]:
    """Return what the commands cannot promise: another table where chance, time or own code had a part."""
    notes = ["The same figures to the last digit need the same machine, libraries and number of threads."]
    if space.path is None:
        notes.append(f"The space is none of the shipped ones: save the one below as {OWN_SPACE}.")
    if _side_by_side(trials):
        notes.append("Trials ran side by side, so what was proposed depended on which ended first.")
    used = study.user_attrs.get(BUDGET_KEY, {})
    for key, is_known in (("sampler", SAMPLERS.__contains__), ("pruner", is_pruner)):
        began = getattr(record, key)
        if not is_known(began):
            notes.append(f"The {key} was code of its own, {began}: repeat it from Python.")
        if used.get(key, began) != began:
            notes.append(f"The study began with the {key} {began} and went on with {used[key]}.")
    if record.n_held_back is None and record.protocol not in REDRAWN:
        notes.append("The study began under version 0.1.0 and held no validation users back; a new one does.")
    lost = sum(trial.user_attrs.get(ROLE) == "enqueued" for trial in trials) - len(_enqueued(trials))
    if lost:
        notes.append(f"{lost} enqueued configurations did not become complete trials and are left out.")
    return notes


def _enqueued(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.user_attrs.get(ROLE) == "enqueued" and t.state == TrialState.COMPLETE]


def _side_by_side(trials: Sequence[FrozenTrial]) -> bool:
    times = sorted((t.datetime_start, t.datetime_complete) for t in trials if t.datetime_start and t.datetime_complete)
    return any(start < end for (_, end), (start, _) in itertools.pairwise(times))

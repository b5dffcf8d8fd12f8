"""Opening the test users: once, counted before anything is evaluated, for the winner, the defaults and the baselines.

After a confirmation the winner and the defaults are trained again on training and validation data together, and so are
the baselines beside them.
"""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import counted
from hrnn_hpo.evaluation.protocols import Evaluation, UserMetric
from hrnn_hpo.evaluation.significance import bootstrap_intervals, paired_difference
from hrnn_hpo.experiment import (
    Device,
    compare_baselines,
    evaluate_model,
    prepare_experiment,
    resolve_device,
    run_experiment,
    save_experiment,
    test_part,
)
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.study.attributes import SUMMARY
from hrnn_hpo.study.confirm.figures import as_text, from_text
from hrnn_hpo.study.confirm.leaderboard import (
    DEFAULTS,
    ENSEMBLE,
    LEADERBOARD,
    WINNER,
    Leaderboard,
    read_leaderboard,
)
from hrnn_hpo.study.confirm.refit import (
    configuration_of,
    confirmed_configuration,
    drop_refits,
    ensure_ensemble,
    ensure_refit,
    left_model_folder,
    whole_model,
)
from hrnn_hpo.study.confirm.settings import wanted_settings
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.run.trial_files import model_folder
from hrnn_hpo.study.trials import best_trial, defaults_trial, last_attempts, read_confirmation, winner_trial

OPENINGS = "test_openings"
TEST_FIGURES = "test_figures"  # with the leaderboard: the test users' figures of the winner, as text
_log = logging.getLogger(__name__)


def openings(study: Study) -> int:
    """Return how often a study has opened its test part."""
    return len(study.user_attrs.get(OPENINGS, []))


def opened_at(study: Study, opening: int) -> float:
    """Return when a study opened its test part for the first, second, … time, in seconds since 1970."""
    return datetime.fromisoformat(study.user_attrs[OPENINGS][opening - 1]["time"]).timestamp()


def open_test_part(
    study: Study,
    record: StudyRecord,
    dataset: Dataset,
    *,
    device: Device = "auto",
    again: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> Leaderboard | None:
    """Return the leaderboard of a study's winner (confirmed, else best), its defaults and the baselines.

    Once opened, the stored figures are returned, whoever wins now; `again` opens once more and counts it. None while
    no trial is complete.
    """
    trials = last_attempts(study)
    confirmed = read_confirmation(study) is not None
    winner, defaults = winner_trial(study) if confirmed else best_trial(trials), defaults_trial(trials)
    stored = read_leaderboard(study)
    if winner is None:
        return stored
    n_members = _n_members(study)
    known = None if stored is None else (stored.winner, stored.refit, stored.n_members)
    if stored is not None and (not again or known == (winner.number, confirmed, n_members)):
        return stored
    compared = {WINNER: winner}
    if defaults is not None and SUMMARY in defaults.user_attrs:
        compared[DEFAULTS] = defaults
    for trial in compared.values():  # before the test part is opened: training may be interrupted
        ensure_model(study, record, dataset, trial, device, extra_metrics)
    folders = {name: left_model_folder(study, trial) for name, trial in compared.items()}
    if n_members:
        left = ensure_ensemble(study, record, dataset, winner, device, n_members)
        folders = {WINNER: folders.pop(WINNER), ENSEMBLE: left, **folders}
    n_done = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
    log: list[dict[str, Any]] = study.user_attrs.get(OPENINGS, [])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # An opening whose figures nobody saw, because the process died, does not count twice. Those of a leaderboard were
    # seen; version 0.1.0 wrote so into the opening.
    seen = bool(log) and (log[-1].get("seen", False) or (stored is not None and stored.opening == len(log)))
    if not log or seen:
        log = [*log, {"time": now, "trial": winner.number, "n_done": n_done}]
        study.set_user_attr(OPENINGS, log)

    experiment = prepare_experiment(dataset, confirmed_configuration(study, winner), record.seen, refit=confirmed)
    part = test_part(experiment)
    rows: dict[str, Evaluation] = {}
    seconds: dict[str, float] = {}  # of answering a user
    for name, folder in folders.items():
        saved = load_model(folder, resolve_device(device))
        own = prepare_experiment(dataset, saved.configuration, record.seen, refit=saved.split.refit)
        rows[name] = evaluate_model(saved.model, own, test_part(own), extra_metrics=extra_metrics)
        if n_members:  # once more, now that nothing is new to the caches
            began = time.perf_counter()
            evaluate_model(saved.model, own, test_part(own))
            seconds[name] = (time.perf_counter() - began) / len(part)
    baselines = compare_baselines(
        experiment, part, objective=record.objective, extra_metrics=extra_metrics, tell=_log.warning
    )
    rows |= baselines.evaluations
    differences = _differences(rows, record.objective)
    board = Leaderboard(
        metrics={name: row.metrics for name, row in rows.items()},
        winner=winner.number,
        opening=len(log),
        n_done=n_done,
        n_test_users=len(part),
        intervals={name: bootstrap_intervals(row.per_user, 0) for name, row in rows.items()},
        refit=confirmed,
        gain=differences.get(DEFAULTS, {}),
        differences=differences,
        constants=baselines.constants,
        left_out=baselines.left_out,
        n_members=n_members,
        seconds_per_user=seconds,
    )
    # In one write: whoever finds a leaderboard finds the figures that it rests on.
    study.set_user_attr(LEADERBOARD, {**vars(board), TEST_FIGURES: _packed(rows[WINNER], record.objective)})
    drop_refits(study, list(compared.values()) if confirmed else [])
    return board


def outdated(study: Study) -> str | None:
    """Return in which way the study would now show other test figures, and leave another model, than it has shown.

    None where it would not, and before the test users were opened.
    """
    board, winner, n_members = read_leaderboard(study), winner_trial(study), _n_members(study)
    if board is None or winner is None:
        return None
    if winner.number != board.winner:
        return (
            f"The test figures are those of trial {board.winner}, best after {counted(board.n_done, 'trial')}, when "
            f"the test users were opened. Trial {winner.number} is ahead now."
        )
    if read_confirmation(study) is not None and not board.refit:
        return (
            f"The test figures are those of trial {board.winner} as the search had trained it: the test users were "
            "opened before its confirmation."
        )
    if n_members and n_members != board.n_members:
        told = f"an ensemble of {board.n_members}" if board.n_members else "no ensemble"
        return f"The test users were opened when the study had {told}; one of {n_members} refits was asked for since."
    return None


def _n_members(study: Study) -> int:
    """Return of how many refits the study is to leave the mean; 0 for one model alone."""
    settings = wanted_settings(study, None, None)
    return settings.n_seeds if settings.ensemble and read_confirmation(study) is not None else 0


def figures_on_test_users(study: Study) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Return the test users and the objective's figure of each, of the winner's model.

    Empty for an objective without a figure per user; None before the test users were opened, and under version 0.1.0.
    """
    packed = (study.user_attrs.get(LEADERBOARD) or {}).get(TEST_FIGURES)
    if packed is None:
        return None
    return from_text(packed["users"], np.int64), from_text(packed["figures"], np.float64)


def _packed(row: Evaluation, objective: str) -> dict[str, Any]:
    figures = row.per_user.get(objective)
    users = row.users if figures is not None else np.empty(0, dtype=np.int64)
    return {
        "users": as_text(users.astype(np.int64)),
        "figures": as_text(np.empty(0) if figures is None else figures.astype(np.float64)),
    }


def ensure_model(
    study: Study,
    record: StudyRecord,
    dataset: Dataset,
    trial: FrozenTrial,
    device: Device,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> None:
    """Train the model that a study leaves for a trial where it is missing.

    That is the refit after a confirmation; without one the trial's own, which another machine may have run.
    """
    if read_confirmation(study) is not None:
        ensure_refit(study, record, dataset, trial, device)
        return
    folder = model_folder(study, trial)
    if not _is_model_of(folder, trial, dataset):
        experiment = prepare_experiment(dataset, configuration_of(trial), record.seen)
        result = run_experiment(experiment, device=device, objective=record.objective, extra_metrics=extra_metrics)
        save_experiment(folder, experiment, result)


def _is_model_of(folder: Path, trial: FrozenTrial, dataset: Dataset) -> bool:
    """Return whether a folder holds just the model that a trial trained, and not one that was copied there."""
    saved = whole_model(folder)
    if saved is None:
        return False
    threads = {"n_threads": None}
    ours = configuration_of(trial).model_copy(update=threads)
    return saved.configuration.model_copy(update=threads) == ours and saved.split.data_hash == dataset.content_hash


def _differences(rows: Mapping[str, Evaluation], objective: str) -> dict[str, dict[str, float]]:
    """Return what the winner is ahead of every other row, paired by user; empty where users have no figures."""
    ours = rows[WINNER].per_user.get(objective)
    if ours is None:
        return {}
    others = {name: row.per_user[objective] for name, row in rows.items() if name != WINNER}
    return {name: paired_difference(ours, theirs) for name, theirs in others.items()}

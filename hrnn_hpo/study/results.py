"""What a study leaves behind: best.yaml, the model and the leaderboard in a folder; table and plots in MLflow."""

import csv
import io
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.model.folder import count_test_opening, require_model_target
from hrnn_hpo.study.attributes import (
    CONFIGURATION,
    FAILURE,
    ROLE,
    SUMMARY,
    best_trial,
    epochs_of,
    last_attempts,
)
from hrnn_hpo.study.export import render, write_text
from hrnn_hpo.study.files import model_folder
from hrnn_hpo.study.leaderboard import WINNER, Leaderboard, read_leaderboard
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.plots import draw_plots
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.samplers import original_number

_log = logging.getLogger(__name__)


def write_results(out: Path, study: Study) -> None:
    """Write best.yaml, model/, trials.csv and, once the test part was opened, leaderboard.json into a folder."""
    best = best_trial(last_attempts(study))
    if best is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "best.yaml", render(study))
    write_text(out / "trials.csv", trials_table(study))
    board = read_leaderboard(study)
    if board is not None:
        write_text(out / "leaderboard.json", json.dumps(leaderboard_content(board), indent=2) + "\n")
    source, target = model_folder(study.study_name, best), out / "model"
    if source.is_dir():
        partial = out / ".model.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        if board is not None:  # its test figures have been seen: `evaluate` opens them again only with --again
            count_test_opening(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)


def require_results_target(out: Path) -> None:
    """Raise ConfigError or ModelError when results cannot be written to a folder, before hours are spent on them."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: a folder must stand here, but it is a file.")
    require_model_target(out / "model")


def leaderboard_content(board: Leaderboard) -> dict[str, Any]:
    """Return a leaderboard as plain values, for --json and leaderboard.json."""
    return {**vars(board), "reopened": board.reopened}


def trials_table(study: Study) -> str:
    """Return trials.csv: a row per trial, failed ones too, with its parameters and its best epoch's metrics."""
    trials = study.get_trials(deepcopy=False)
    params = sorted({name for trial in trials for name in trial.params})
    metrics = list(dict.fromkeys(name for t in trials for name in t.user_attrs.get(SUMMARY, {}).get("metrics", {})))
    fixed = ["trial", "state", "value", "role", "retry_of", "started", "seconds", "epochs", "best_epoch", "seed"]
    rows = io.StringIO()
    writer = csv.DictWriter(rows, [*fixed, *params, *metrics, "reason"], restval="", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        summary = trial.user_attrs.get(SUMMARY, {})
        original = original_number(trial)
        writer.writerow(
            {
                "trial": trial.number,
                "state": trial.state.name,
                "value": "" if trial.value is None else repr(trial.value),
                "role": trial.user_attrs.get(ROLE, ""),
                "retry_of": "" if original == trial.number else original,
                "started": trial.datetime_start.isoformat(timespec="seconds") if trial.datetime_start else "",
                "seconds": f"{trial.duration.total_seconds():.1f}" if trial.duration else "",
                "epochs": len(epochs_of(trial)),
                "best_epoch": summary.get("best_epoch", ""),
                "seed": trial.user_attrs.get(CONFIGURATION, {}).get("seed", ""),
                **trial.params,
                **summary.get("metrics", {}),
                "reason": trial.user_attrs.get(FAILURE, {}).get("reason", ""),
            }
        )
    return rows.getvalue()


def track_results(mirror: Mirror, study: Study) -> None:
    """Give MLflow the study's table, plots, winner and test figures; a failure here is a warning."""
    try:
        trials: list[FrozenTrial] = last_attempts(study)
        mirror.repair(trials)
        mirror.log_text(trials_table(study), "trials.csv")
        best = best_trial(trials)
        if best is not None:
            mirror.log_text(render(study), "best.yaml")
            mirror.log_best(best)
        with tempfile.TemporaryDirectory() as folder:
            draw_plots(Path(folder), study, read_record(study).objective)
            mirror.log_folder(Path(folder), "plots")
        board = read_leaderboard(study)
        if board is not None:
            mirror.log_text(json.dumps(leaderboard_content(board), indent=2), "leaderboard.json")
            mirror.log_tests(board.metrics, WINNER)
    except Exception as error:  # plots and copies are no reason to lose a study's end
        _log.warning("MLflow did not get all results of the study (%s: %s).", type(error).__name__, error)

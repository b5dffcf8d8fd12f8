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

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.model.folder import count_test_opening, require_model_target
from hrnn_hpo.study.attributes import (
    CONFIGURATION,
    FAILURE,
    ROLE,
    SUMMARY,
    epochs_of,
    last_attempts,
    read_confirmation,
    winner_trial,
)
from hrnn_hpo.study.confirm import confirmation_runs
from hrnn_hpo.study.export import render, write_text
from hrnn_hpo.study.final import FINAL, winning_model
from hrnn_hpo.study.leaderboard import WINNER, Leaderboard, read_leaderboard
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.plots import draw_plots
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.samplers import original_number

_log = logging.getLogger(__name__)


def write_results(out: Path, study: Study) -> None:
    """Write the winner's best.yaml and model/, trials.csv, and what there is of confirmation.json, leaderboard.json."""
    if winner_trial(study) is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "best.yaml", render(study))
    write_text(out / "trials.csv", trials_table(study))
    board = read_leaderboard(study)
    if board is not None:
        write_text(out / "leaderboard.json", json.dumps(leaderboard_content(board), indent=2) + "\n")
    confirmation = read_confirmation(study)
    if confirmation is not None:
        write_text(out / "confirmation.json", json.dumps(confirmation.content(), indent=2) + "\n")
    target, partial = out / "model", out / ".model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if copy_model(study, partial):
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)


def copy_model(study: Study, target: Path) -> bool:
    """Copy the model that the study leaves to a new folder; return whether there is one on this machine."""
    source = winning_model(study)
    if source is None:
        return False
    shutil.copytree(source, target)
    if read_leaderboard(study) is not None:  # its test figures were seen: `evaluate` opens them again only with --again
        count_test_opening(target)
    return True


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
    more = read_record(study).more_objectives
    params = sorted({name for trial in trials for name in trial.params})
    metrics = list(dict.fromkeys(name for t in trials for name in t.user_attrs.get(SUMMARY, {}).get("metrics", {})))
    fixed = ["trial", "state", "value", "role", "retry_of", "started", "seconds", "epochs", "best_epoch", "seed"]
    fixed += [f"objective_{name}" for name in more]
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
                "value": "" if trial.values is None else repr(trial.values[0]),
                **{f"objective_{name}": repr(v) for name, v in zip(more, (trial.values or [])[1:], strict=False)},
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


def track_results(mirror: Mirror, study: Study, companion: Study | None = None) -> None:
    """Give MLflow the study's table, plots, verdict, winner and test figures; a failure here is a warning.

    `companion` holds the confirmation's runs, where there are any.
    """
    try:
        mirror.repair(last_attempts(study))
        mirror.log_text(trials_table(study), "trials.csv")
        winner = winner_trial(study)
        if winner is not None:
            mirror.log_text(render(study), "best.yaml")
            mirror.log_best(winner)
        if companion is not None:
            mirror.repair(confirmation_runs(companion))
        confirmation = read_confirmation(study)
        if confirmation is not None:
            mirror.log_confirmation(confirmation)
        with tempfile.TemporaryDirectory() as folder:
            draw_plots(Path(folder), study, read_record(study).objective)
            mirror.log_folder(Path(folder), "plots")
        board = read_leaderboard(study)
        if board is not None:
            mirror.log_text(json.dumps(leaderboard_content(board), indent=2), "leaderboard.json")
            mirror.log_tests(board.metrics, WINNER, study.user_attrs.get(FINAL, {}).get(str(board.winner)))
            if winner is not None and winner.number == board.winner:
                with tempfile.TemporaryDirectory() as folder:
                    model = Path(folder) / "model"
                    if copy_model(study, model):
                        mirror.register_model(model, WINNER, board.winner, board.opening)
    except Exception as error:  # plots and copies are no reason to lose a study's end
        _log.warning("MLflow did not get all results of the study (%s: %s).", type(error).__name__, error)

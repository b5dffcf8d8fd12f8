"""What a study leaves behind in a folder: best.yaml, the model, the table of trials, the leaderboard, the verdict."""

import json
import shutil
from pathlib import Path

from optuna.study import Study

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.files import require_writable, write_text
from hrnn_hpo.model.folder import count_test_opening, require_model_target
from hrnn_hpo.study.confirm.leaderboard import leaderboard_content, read_leaderboard
from hrnn_hpo.study.confirm.refit import winning_model
from hrnn_hpo.study.report.answers import Answers
from hrnn_hpo.study.results.export import render
from hrnn_hpo.study.results.trials_table import trials_table
from hrnn_hpo.study.trials import read_confirmation, winner_trial


def write_results(out: Path, study: Study, answers: Answers | None = None) -> None:
    """Write the winner's best.yaml and model/, trials.csv, and what there is of the three JSON files.

    They are confirmation.json, leaderboard.json, and answers.json with what the hyperparameters brought.
    """
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
    if answers is not None and answers.told:
        write_text(out / "answers.json", json.dumps(answers.content(), indent=2) + "\n")
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
    require_writable(out / "best.yaml")
    require_model_target(out / "model")

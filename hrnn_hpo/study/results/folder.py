"""What a study leaves behind in a folder: best.yaml, the model, the table of trials, the leaderboard, the verdict."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optuna.study import Study

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.files import require_writable, write_text
from hrnn_hpo.model.folder import count_test_opening, require_model_target
from hrnn_hpo.study.confirm.leaderboard import leaderboard_content, read_leaderboard
from hrnn_hpo.study.confirm.refit import shown_model, winning_model
from hrnn_hpo.study.report.answers import Answers
from hrnn_hpo.study.results.export import render
from hrnn_hpo.study.results.trials_table import trials_table
from hrnn_hpo.study.trials import read_confirmation, winner_trial


@dataclass(frozen=True)
class Written:
    """What `write_results` has written into a folder: nothing while no trial is complete."""

    names: tuple[str, ...] = ()
    model_of: Literal["winner", "test figures"] | None = None  # None where this machine has neither


def write_results(out: Path, study: Study, answers: Answers | None = None) -> Written:
    """Write the winner's best.yaml and model/, trials.csv, and what there is of the three JSON files; return what.

    They are leaderboard.json, confirmation.json, and answers.json with what the hyperparameters brought. Of these, what
    an earlier study left in the folder goes. The model is the one that the study leaves, else the one whose test
    figures it shows; a folder model/ stays as it is where this machine has neither.
    """
    if winner_trial(study) is None:
        return Written()
    out.mkdir(parents=True, exist_ok=True)
    target, partial = out / "model", out / ".model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model_of: Literal["winner", "test figures"] | None = None
    if copy_model(study, partial):
        model_of = "winner"
    elif _copy_shown_model(study, partial):
        model_of = "test figures"
    board, confirmation = read_leaderboard(study), read_confirmation(study)
    tables: dict[str, dict[str, Any] | None] = {
        "leaderboard.json": None if board is None else leaderboard_content(board),
        "confirmation.json": None if confirmation is None else confirmation.content(),
        "answers.json": answers.content() if answers is not None and answers.told else None,
    }
    write_text(out / "best.yaml", render(study))
    write_text(out / "trials.csv", trials_table(study))
    for name, content in tables.items():
        if content is None:
            (out / name).unlink(missing_ok=True)
        else:
            write_text(out / name, json.dumps(content, indent=2) + "\n")
    if model_of is not None:
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    model = () if model_of is None else ("model/",)
    there = (name for name, content in tables.items() if content is not None)
    return Written(("best.yaml", *model, "trials.csv", *there), model_of)


def copy_model(study: Study, target: Path) -> bool:
    """Copy the model that the study leaves to a new folder; return whether there is one on this machine."""
    return _copy(study, winning_model(study), target)


def _copy_shown_model(study: Study, target: Path) -> bool:
    """Copy the model whose test figures the study shows; return whether there is one on this machine."""
    board = read_leaderboard(study)
    if board is None:
        return False
    return _copy(study, shown_model(study, board.winner, refit=board.refit, ensemble=board.n_members > 0), target)


def _copy(study: Study, source: Path | None, target: Path) -> bool:
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

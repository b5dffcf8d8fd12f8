"""A study's end in MLflow: its table, plots, verdict, test figures and model."""

import json
import logging
import tempfile
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState

from hrnn_hpo.study.confirm.agenda import confirmation_runs, screening_runs
from hrnn_hpo.study.confirm.leaderboard import ENSEMBLE, WINNER, leaderboard_content, read_leaderboard
from hrnn_hpo.study.confirm.refit import FINAL
from hrnn_hpo.study.confirm.test_part import opened_at
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.report.report import render_report
from hrnn_hpo.study.results.description import REPORT, description
from hrnn_hpo.study.results.export import render
from hrnn_hpo.study.results.folder import copy_model
from hrnn_hpo.study.results.plots import draw_plots
from hrnn_hpo.study.results.trials_table import trials_table
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.study.trials import last_attempts, read_confirmation, winner_trial

_log = logging.getLogger(__name__)


def track_results(runs: StudyRuns, study: Study, companion: Study | None = None) -> None:
    """Give MLflow the study's table, plots, verdict, winner and test figures; a failure here is a warning.

    `companion` holds the runs of confirmation and screening, where there are any.
    """
    try:
        runs.repair(last_attempts(study))
        runs.log_text(trials_table(study), "trials.csv")
        winner = winner_trial(study)
        if winner is not None:
            runs.log_text(render(study), "best.yaml")
            runs.log_best(winner, last_attempts(study))
        if companion is not None:
            runs.repair([*screening_runs(companion), *confirmation_runs(companion)])
        confirmation = read_confirmation(study)
        if confirmation is not None:
            runs.log_confirmation(confirmation)
        with tempfile.TemporaryDirectory() as folder:
            draw_plots(Path(folder), study, read_record(study).objective)
            runs.log_folder(Path(folder), "plots")
        if any(trial.state != TrialState.WAITING for trial in last_attempts(study)):  # as the report counts them
            runs.log_text(render_report(study), REPORT)
        board = read_leaderboard(study)
        if board is not None:
            runs.log_text(json.dumps(leaderboard_content(board), indent=2), "leaderboard.json")
            refit = study.user_attrs.get(FINAL, {}).get(str(board.winner)) if board.refit else None
            runs.log_tests(board.metrics, WINNER, refit, opening=board.opening, opened=opened_at(study, board.opening))
            if winner is not None and winner.number == board.winner:
                with tempfile.TemporaryDirectory() as folder:
                    model = Path(folder) / "model"
                    if copy_model(study, model):
                        contender = ENSEMBLE if board.n_members else WINNER
                        runs.register_model(model, contender, board.winner, board.opening)
        runs.describe(description(study, runs))
    except Exception as error:  # plots and copies are no reason to lose a study's end
        runs.missed(f"{type(error).__name__}: {error}")
        _log.warning("MLflow did not get all results of the study (%s: %s).", type(error).__name__, error)

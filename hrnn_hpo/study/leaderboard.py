"""The end of a study: winner, defaults and baselines side by side on the test users, who are looked at once.

Each opening of the test part is written into the study before anything is evaluated.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.evaluation.baselines import evaluate_baselines
from hrnn_hpo.experiment import Device, evaluate_model, prepare_experiment, resolve_device, run_experiment, test_part
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.study.attributes import CONFIGURATION, SUMMARY, best_trial, defaults_trial, last_attempts
from hrnn_hpo.study.files import model_folder
from hrnn_hpo.study.objective import save_trial_model
from hrnn_hpo.study.record import StudyRecord

OPENINGS, LEADERBOARD = "test_openings", "leaderboard"
WINNER, DEFAULTS = "tuned", "defaults"


@dataclass(frozen=True)
class Leaderboard:
    """Test figures by name; `opening` counts how often this study had looked at its test users by then."""

    metrics: dict[str, dict[str, float]]
    winner: int  # trial
    opening: int
    n_done: int  # trials complete or pruned when it was made
    n_test_users: int

    @property
    def reopened(self) -> bool:
        """Whether the figures are tainted: chosen after an earlier look at the test users."""
        return self.opening > 1


def read_leaderboard(study: Study) -> Leaderboard | None:
    """Return the newest leaderboard of a study, None before the test part was opened."""
    content = study.user_attrs.get(LEADERBOARD)
    return Leaderboard(**content) if content else None


def openings(study: Study) -> int:
    """Return how often a study has opened its test part."""
    return len(study.user_attrs.get(OPENINGS, []))


def open_test_part(
    study: Study, record: StudyRecord, dataset: Dataset, *, device: Device = "auto", again: bool = False
) -> Leaderboard | None:
    """Return the leaderboard of a study's best trial, its defaults and the baselines.

    Once opened, the stored figures are returned, whoever wins now; `again` opens once more and counts it. None while
    no trial is complete.
    """
    trials = last_attempts(study)
    winner, defaults = best_trial(trials), defaults_trial(trials)
    stored = read_leaderboard(study)
    if winner is None or (stored is not None and (not again or stored.winner == winner.number)):
        return stored
    n_done = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
    log: list[dict[str, Any]] = study.user_attrs.get(OPENINGS, [])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # An opening whose figures nobody saw, because the process died, does not count twice.
    if not log or log[-1]["seen"]:
        log = [*log, {"time": now, "trial": winner.number, "n_done": n_done, "seen": False}]
        study.set_user_attr(OPENINGS, log)

    metrics: dict[str, dict[str, float]] = {}
    metrics[WINNER] = _test_metrics(study, record, dataset, winner, device)
    if defaults is not None and SUMMARY in defaults.user_attrs:
        metrics[DEFAULTS] = _test_metrics(study, record, dataset, defaults, device)
    experiment = prepare_experiment(dataset, configuration_of(winner), record.seen)
    part = test_part(experiment)
    for name, evaluation in evaluate_baselines(dataset, experiment.split.train, part, seen=experiment.seen).items():
        metrics[name] = evaluation.metrics
    board = Leaderboard(metrics, winner.number, len(log), n_done, len(part))
    study.set_user_attr(LEADERBOARD, vars(board))
    study.set_user_attr(OPENINGS, [*log[:-1], {**log[-1], "seen": True}])
    return board


def configuration_of(trial: FrozenTrial) -> Configuration:
    """Return the configuration that a trial ran, as a file of it would say."""
    return Configuration.model_validate(trial.user_attrs[CONFIGURATION])


def ensure_model(study: Study, record: StudyRecord, dataset: Dataset, trial: FrozenTrial, device: Device) -> None:
    """Train a trial's model again where its folder is missing: another machine ran it, or it was cleaned up."""
    folder = model_folder(study.study_name, trial)
    if not folder.is_dir():
        experiment = prepare_experiment(dataset, configuration_of(trial), record.seen)
        save_trial_model(folder, experiment, run_experiment(experiment, device=device, objective=record.objective))


def _test_metrics(
    study: Study, record: StudyRecord, dataset: Dataset, trial: FrozenTrial, device: Device
) -> dict[str, float]:
    ensure_model(study, record, dataset, trial, device)
    saved = load_model(model_folder(study.study_name, trial), resolve_device(device))
    experiment = prepare_experiment(dataset, saved.configuration, record.seen)
    return evaluate_model(saved.model, experiment, test_part(experiment)).metrics

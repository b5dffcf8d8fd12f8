"""One trial: from Optuna's proposal to a trained model and its validation score.

Everything that a trial brings goes into its attributes, so that Optuna's storage alone can tell the whole story;
MLflow gets a copy.
"""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from optuna.exceptions import TrialPruned
from optuna.trial import FrozenTrial, Trial

from hrnn_hpo.config import Configuration, dump_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import Device, Experiment, ExperimentResult, prepare_experiment, run_experiment, settle
from hrnn_hpo.model.folder import SplitRecord, save_model
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.stores import trial_folder
from hrnn_hpo.study.attributes import (
    COMMIT,
    CONFIGURATION,
    FAILURE,
    ROLE,
    RUN,
    STARTS,
    SUMMARY,
    WORKER,
    epoch_key,
    epochs_of,
)
from hrnn_hpo.study.control import Control, StopTrialError
from hrnn_hpo.study.forecast import Forecast
from hrnn_hpo.study.mirror import Mirror
from hrnn_hpo.study.objectives import objective_value
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.recovery import this_worker
from hrnn_hpo.study.samplers import ordinal, original_number, trial_seed
from hrnn_hpo.training.progress import EpochReport

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who watches a study run: the live table of the command line, a notebook, a test."""

    def planned(self, forecast: Forecast) -> None: ...
    def compared(self, number: int, total: int, part: float | None, whole: float | None) -> None: ...
    def study_started(self, objective: str, n_trials: int | None, timeout: float | None, done: int) -> None: ...
    def trial_started(self, number: int, values: Mapping[str, Any]) -> None: ...
    def epoch_ended(self, number: int, report: EpochReport) -> None: ...
    def trial_ended(self, trial: FrozenTrial) -> None: ...


class Silent:
    """An observer that looks away."""

    def planned(self, forecast: Forecast) -> None: ...
    def compared(self, number: int, total: int, part: float | None, whole: float | None) -> None: ...
    def study_started(self, objective: str, n_trials: int | None, timeout: float | None, done: int) -> None: ...
    def trial_started(self, number: int, values: Mapping[str, Any]) -> None: ...
    def epoch_ended(self, number: int, report: EpochReport) -> None: ...
    def trial_ended(self, trial: FrozenTrial) -> None: ...


@dataclass
class Objective:
    """Called by Optuna with a trial; returns the best epoch's value of each objective, or raises TrialPruned.

    `claimed` is called once the trial's parameters are drawn: until then, one process at a time starts a trial.
    """

    study: str
    record: StudyRecord
    dataset: Dataset
    mirror: Mirror
    control: Control
    space: SearchSpace
    device: Device = "auto"
    n_threads: int | None = None
    commit: str | None = None
    observer: Observer = field(default_factory=Silent)
    extra_metrics: Mapping[str, UserMetric] | None = None
    claimed: Callable[[], None] = lambda: None
    current: int | None = None  # the trial that runs

    def __call__(self, trial: Trial) -> list[float]:
        self.current = trial.number
        try:
            return self._run(trial)
        except TrialPruned:
            raise
        except StopTrialError as error:
            trial.set_user_attr(FAILURE, {"reason": str(error)})
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            trial.set_user_attr(FAILURE, {"reason": reason, "traceback": traceback.format_exc()})
            raise

    def _run(self, trial: Trial) -> list[float]:
        trial.set_user_attr(WORKER, this_worker())
        before = frozen(trial)  # as a killed worker left it, for a retry
        trial.set_user_attr(STARTS, [*before.user_attrs.get(STARTS, []), len(epochs_of(before))])
        configuration = self._configuration(trial)
        self.claimed()
        trial.set_user_attr(CONFIGURATION, dump_configuration(configuration))
        if self.commit:
            trial.set_user_attr(COMMIT, self.commit)
        self.observer.trial_started(trial.number, trial.params)
        run = self.mirror.start_trial(frozen(trial))
        if run is not None:
            trial.set_user_attr(RUN, run)

        folder = trial_folder(self.study, original_number(before))
        experiment = self._experiment(before, configuration)
        log = _EpochLog(trial, set(before.intermediate_values), run, configuration.hyperparameters.epochs, self)
        result = run_experiment(
            experiment,
            device=self.device,
            objective=self.record.objective,
            on_epoch=log.on_epoch,
            checkpoint=folder / "checkpoint.safetensors",
            extra_metrics=self.extra_metrics,
        )
        for report in result.history:  # a worker may have died between an epoch's checkpoint and its report
            log.write(report)
        self._keep(trial, experiment, result, folder)
        _write_summary(trial, result)
        # A confirmation's study has the leading objective alone.
        return [objective_value(result, name) for name in self.record.objectives[: len(trial.study.directions)]]

    def _configuration(self, trial: Trial) -> Configuration:
        """Return what the trial trains: the sampler's values over the space's constants, with the trial's own seed."""
        asked = Configuration(
            hyperparameters=self.space.resolve(self.space.suggest(trial)),
            protocol=self.record.protocol,
            split_seed=self.record.split_seed,
            seed=trial_seed(self.record.seed, ordinal(trial.study, frozen(trial)), stream=1),
            n_threads=self.n_threads,
            user_fraction=self.record.user_fraction,
        )
        return settle(self.dataset, asked)

    def _experiment(self, trial: FrozenTrial, configuration: Configuration) -> Experiment:
        """Return the data and the split that the trial trains on."""
        return prepare_experiment(self.dataset, configuration, self.record.seen)

    def _keep(self, trial: Trial, experiment: Experiment, result: ExperimentResult, folder: Path) -> None:
        """Save what the trial made besides its figures: its model."""
        try:
            save_trial_model(folder / "model", experiment, result)
        except RunFailedError as error:  # a model that is wanted later is trained again
            _log.warning("%s The study goes on without.", error)


@dataclass
class _EpochLog:
    """Records each epoch of one trial, once: for the pruner, in the trial's attributes, in MLflow."""

    trial: Trial
    reported: set[int]
    run: str | None
    epochs: int  # the most that the trial may take
    owner: Objective

    @property
    def several(self) -> bool:
        """Whether the study has several objectives, where Optuna takes no reports and prunes nothing."""
        return len(self.trial.study.directions) > 1

    def on_epoch(self, report: EpochReport) -> None:
        self.write(report)
        self.owner.observer.epoch_ended(self.trial.number, report)
        # The defaults are the yardstick of the study and run to their end, as do a confirmation's runs; after the last
        # epoch nothing is to be saved.
        prunable = report.epoch < self.epochs and self.trial.user_attrs.get(ROLE) not in ("defaults", "confirmation")
        if prunable and not self.several and self.trial.should_prune():
            raise TrialPruned(f"after epoch {report.epoch}")
        control = self.owner.control
        control.look_for_request(self.trial.study)
        if control.reason is not None:
            raise StopTrialError(f"{control.reason}, after epoch {report.epoch}")

    def write(self, report: EpochReport) -> None:
        key = epoch_key(report.epoch)
        if key in self.trial.user_attrs:
            return
        figures = {name: value for name, value in asdict(report).items() if name not in ("epoch", "is_best")}
        figures["time"] = round(time.time(), 3)
        if not self.several and report.epoch - 1 not in self.reported:  # Optuna counts steps from 0
            self.trial.report(report.metrics[self.owner.record.objective], step=report.epoch - 1)
        self.trial.set_user_attr(key, figures)
        self.owner.mirror.log_epoch(self.run, report.epoch, figures)


def save_trial_model(folder: Path, experiment: Experiment, result: ExperimentResult) -> None:
    """Write a trial's model folder."""
    record = SplitRecord(
        protocol=result.configuration.protocol,
        split_seed=result.configuration.split_seed,
        data_hash=experiment.dataset.content_hash,
        seen=experiment.seen,
        validation_metrics=result.metrics,
    )
    save_model(folder, result.model, result.configuration, experiment.dataset, experiment.split, record)


def frozen(trial: Trial) -> FrozenTrial:
    """Return a trial as the storage has it now."""
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _write_summary(trial: Trial, result: ExperimentResult) -> None:
    trial.set_user_attr(CONFIGURATION, dump_configuration(result.configuration))
    summary = {
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "metrics": result.metrics,
        "n_parameters": result.n_parameters,
        "seconds": round(result.seconds, 3),
        "time": round(time.time(), 3),
    }
    trial.set_user_attr(SUMMARY, summary)

"""One trial: from Optuna's proposal to a trained model and its validation score.

Everything that a trial brings goes into its attributes, so that Optuna's storage alone can tell the whole story;
MLflow gets a copy.
"""

import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from optuna.exceptions import TrialPruned
from optuna.trial import FrozenTrial, Trial

from hrnn_hpo.config import Configuration, dump_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import (
    Device,
    Experiment,
    ExperimentResult,
    prepare_experiment,
    resolve_auto,
    run_experiment,
    save_experiment,
    training_digest,
)
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import (
    COMMIT,
    CONFIGURATION,
    FAILURE,
    ROLE,
    RUN,
    STARTS,
    SUMMARY,
    TAKEN_UP,
    WORKER,
    epoch_key,
    epochs_of,
)
from hrnn_hpo.study.folders import checkpoint_file, trial_folder
from hrnn_hpo.study.objectives import objective_value
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.run.advance import Advance
from hrnn_hpo.study.run.control import Control, StopTrialError
from hrnn_hpo.study.run.observer import Observer, Silent
from hrnn_hpo.study.run.recovery import this_worker
from hrnn_hpo.study.seeds import TRAINING_STREAM, ordinal, original_number, trial_seed
from hrnn_hpo.study.storage.user_figures import UserFigures
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.training.progress import EpochReport

# Roles: the defaults are the yardstick of the study, the others are compared by what they come to.
TO_THE_END = ("defaults", "screening", "confirmation")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialContext:
    """What all trials of one process share: the study's data and record, and who watches and keeps what they do."""

    record: StudyRecord
    dataset: Dataset
    space: SearchSpace
    runs: StudyRuns
    control: Control
    device: Device = "auto"
    n_threads: int | None = None
    observer: Observer = field(default_factory=Silent)
    extra_metrics: Mapping[str, UserMetric] | None = None
    commit: str | None = None  # of the code


@dataclass
class Objective:
    """Called by Optuna with a trial; returns the best epoch's value of each objective, or raises TrialPruned.

    `claimed` is called once the trial's parameters are drawn: until then, one process at a time starts a trial.
    """

    context: TrialContext
    figures: UserFigures | None = None  # where the users' figures of each epoch are kept
    claimed: Callable[[], None] = lambda: None
    role: ClassVar[str] = "search"
    current: int | None = None  # the trial that runs

    def __call__(self, trial: Trial) -> list[float]:
        self.current = trial.number
        try:
            return self._run(trial)
        except TrialPruned:
            raise
        except (StopTrialError, KeyboardInterrupt) as error:  # no traceback: it is queued again
            trial.set_user_attr(FAILURE, {"reason": str(error) or "interrupted"})
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            trial.set_user_attr(FAILURE, {"reason": reason, "traceback": traceback.format_exc()})
            raise

    def _run(self, trial: Trial) -> list[float]:
        """Run a trial from end to end: ask, train an epoch, report it, prune or stop or go on, tell."""
        trial.set_user_attr(WORKER, this_worker())
        before = frozen(trial)  # as a killed worker left it, for a retry
        trial.set_user_attr(STARTS, [*before.user_attrs.get(STARTS, []), len(epochs_of(before))])
        configuration = self._ask(trial)
        self.claimed()
        run = self._show_start(trial, configuration)
        several = len(trial.study.directions) > 1  # Optuna takes no reports of several objectives and prunes nothing
        reported, place = set(before.intermediate_values), ordinal(trial.study, before)

        def report(epoch: EpochReport) -> None:
            """Write an epoch's figures once: for the pruner, in the trial's attributes, in MLflow."""
            if epoch_key(epoch.epoch) in trial.user_attrs:
                return
            figures = {name: value for name, value in asdict(epoch).items() if name not in ("epoch", "is_best")}
            error = self._standard_error(experiment, place, epoch.epoch)
            if error is not None:
                figures["standard_error"] = error
            figures["time"] = round(time.time(), 3)
            if not several and epoch.epoch - 1 not in reported:  # Optuna counts steps from 0
                trial.report(epoch.metrics[self.context.record.objective], step=epoch.epoch - 1)
            trial.set_user_attr(epoch_key(epoch.epoch), figures)
            self.context.runs.log_epoch(run, epoch.epoch, figures)

        def prune(n_epochs: int) -> None:
            # What has a role in TO_THE_END and what was taken up again is not pruned; after the last epoch nothing is
            # to be saved.
            to_the_end = trial.user_attrs.get(ROLE) in TO_THE_END or TAKEN_UP in trial.user_attrs
            is_last = n_epochs >= configuration.hyperparameters.epochs
            if not several and not to_the_end and not is_last and trial.should_prune():
                raise TrialPruned(f"after epoch {n_epochs}")

        def after_epoch(epoch: EpochReport) -> None:
            report(epoch)
            advance.epoch_ended(epoch.epoch)
            self.context.observer.epoch_ended(trial.number, epoch)
            prune(epoch.epoch)
            self.context.control.look_for_request(trial.study)
            if self.context.control.reason is not None:
                raise StopTrialError(f"{self.context.control.reason}, after epoch {epoch.epoch}")

        # Its worker may have died between an epoch's report and the pruner's answer; what has a summary has ended.
        if reported and SUMMARY not in before.user_attrs:
            prune(max(reported) + 1)
        experiment = self._experiment(before, configuration)
        folder = trial_folder(trial.study, original_number(before))
        kept = self.figures
        checkpoint = checkpoint_file(folder, training_digest(experiment, self.context.record.objective, self.role))
        if epochs_of(before) and not checkpoint.exists():
            _log.warning(
                "Trial %d starts again from its first epoch: the checkpoint of its %d epochs is not on this machine.",
                original_number(before),
                len(epochs_of(before)),
            )
        advance = Advance(trial, before, len(epochs_of(before)) if checkpoint.exists() else 0)
        result = run_experiment(
            experiment,
            device=self.context.device,
            objective=self.context.record.objective,
            on_users=None if kept is None else lambda epoch, users: kept.write(place, epoch, users),
            on_epoch=after_epoch,
            on_update=advance.updated,
            checkpoint=checkpoint,
            extra_metrics=self.context.extra_metrics,
        )
        for epoch in result.history:  # a worker may have died between an epoch's checkpoint and its report
            report(epoch)
        result = self._judged(before, experiment, result)
        # A confirmation's study has the leading objective alone.
        values = [
            objective_value(result, name) for name in self.context.record.objectives[: len(trial.study.directions)]
        ]
        _require_numbers(dict(zip(self.context.record.objectives, values, strict=False)))
        self._keep(trial, experiment, result, folder)
        _write_summary(trial, result)
        return values  # which Optuna tells the storage

    def _ask(self, trial: Trial) -> Configuration:
        """Return what the trial trains: the sampler's values over the space's constants, with the trial's own seed."""
        record = self.context.record
        asked = record.configuration(
            self.context.space.resolve(self.context.space.suggest(trial)),
            seed=trial_seed(record.seed, ordinal(trial.study, frozen(trial)), stream=TRAINING_STREAM),
            n_threads=self.context.n_threads,
        )
        return resolve_auto(self.context.dataset, asked)

    def _show_start(self, trial: Trial, configuration: Configuration) -> str | None:
        """Write down what the trial is about to train; return its MLflow run."""
        trial.set_user_attr(CONFIGURATION, dump_configuration(configuration))
        if self.context.commit:
            trial.set_user_attr(COMMIT, self.context.commit)
        self.context.observer.trial_started(trial.number, trial.params)
        run = self.context.runs.start_trial(frozen(trial))
        if run is not None:
            trial.set_user_attr(RUN, run)
        return run

    def _experiment(self, trial: FrozenTrial, configuration: Configuration) -> Experiment:
        """Return the data and the split that the trial trains on."""
        return prepare_experiment(self.context.dataset, configuration, self.context.record.seen)

    def _standard_error(self, experiment: Experiment, place: int, epoch: int) -> float | None:
        """Return the standard error of an epoch's score over the validation users; None where it is no mean of them."""
        part = experiment.split.validation
        return (
            None if self.figures is None or part is None else self.figures.standard_error(place, epoch, len(part.users))
        )

    def _judged(self, trial: FrozenTrial, experiment: Experiment, result: ExperimentResult) -> ExperimentResult:
        """Return the result with the figures that the trial is told with: those of its validation users."""
        return result

    def _keep(self, trial: Trial, experiment: Experiment, result: ExperimentResult, folder: Path) -> None:
        """Save what the trial made besides its figures: its model."""
        try:
            save_experiment(folder / "model", experiment, result)
        except RunFailedError as error:  # a model that is wanted later is trained again
            _log.warning("%s The study goes on without.", error)


def frozen(trial: Trial) -> FrozenTrial:
    """Return a trial as the storage has it now."""
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _require_numbers(values: Mapping[str, float]) -> None:
    """Raise RunFailedError where an objective is no number, for which Optuna would fail a trial without a reason."""
    for name, value in values.items():
        if math.isnan(value):
            raise RunFailedError(f"`{name}` must be a number, but got nan.")


def _write_summary(trial: Trial, result: ExperimentResult) -> None:
    trial.set_user_attr(CONFIGURATION, dump_configuration(result.configuration))
    error = epochs_of(frozen(trial)).get(result.best_epoch, {}).get("standard_error")
    summary = {
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "metrics": result.metrics,
        **({} if error is None else {"standard_error": error}),
        "n_parameters": result.n_parameters,
        "seconds": round(result.seconds, 3),
        "time": round(time.time(), 3),
    }
    trial.set_user_attr(SUMMARY, summary)

"""What MLflow shows of a study: a parent run, a child run per trial, and all of it from Optuna's storage alone.

The same functions serve a trial as it runs and a later `sync`; writing a thing twice changes nothing.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import (
    CANDIDATE,
    COMMIT,
    CONFIGURATION,
    FAILURE,
    REPEAT,
    RUN,
    SUMMARY,
    TRAIN_SEED,
    epochs_of,
)
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.samplers import original_number
from hrnn_hpo.study.verdict import Confirmation
from hrnn_hpo.tracking import Tracker

# MLflow's words for a run's end, as Optuna's own MLflow bridge chose them.
STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "SCHEDULED",
}


class Mirror:
    """Writes one study to a tracking store. A store that fails is a warning, and `repair` writes what it missed."""

    def __init__(self, tracker: Tracker, study: str, record: StudyRecord) -> None:
        self._tracker = tracker
        self._study = study
        self._record = record
        self.parent: str | None = None

    def open_parent(self, study: Study) -> None:
        """Find the study's parent run, or create it, and mark it running."""
        identity = {"study_uid": self._record.uid, "role": "study"}
        self.parent = self._tracker.find_run(identity)
        if self.parent is None:
            self.parent = self._tracker.start_run(
                self._study,
                tags={**self._tags(study.user_attrs.get(COMMIT)), **identity, "state": "running"},
                params={
                    name: getattr(self._record, name)
                    for name in ("objective", "protocol", "split_seed", "seed", "seen", "sampler", "pruner")
                },
            )
        self._tracker.log_text(self.parent, _yaml(self._record.space), "space.yaml")  # it may have been widened
        self._tracker.log_text(self.parent, _yaml(self._record.model_dump()), "study.yaml")
        self._tracker.set_tags(self.parent, {"state": "running"})
        self._tracker.end_run(self.parent, "RUNNING")

    def join_parent(self) -> None:
        """Find the study's parent run without changing it; what a worker does."""
        self.parent = self._tracker.find_run({"study_uid": self._record.uid, "role": "study"})

    def close_parent(self, state: str) -> None:
        """Close the parent run: `complete`, `stopped` or `failed`."""
        self._tracker.set_tags(self.parent, {"state": state})
        self._tracker.end_run(self.parent, {"complete": "FINISHED", "stopped": "KILLED"}.get(state, "FAILED"))

    def start_trial(self, trial: FrozenTrial) -> str | None:
        """Return the child run of a trial, found again for a retry and new otherwise."""
        run = trial.user_attrs.get(RUN)
        if run is None and (original_number(trial) != trial.number or CANDIDATE in trial.user_attrs):
            run = self._find_child(trial)
        if run is not None:
            self._tracker.behind.add(run)  # its worker may have died between recording an epoch and telling MLflow
            self._tracker.set_tags(run, {"state": "running", "retry": str(trial.number)})
            self._tracker.end_run(run, "RUNNING")
            return str(run)
        return self._new_child(trial)

    def log_epoch(self, run: str | None, epoch: int, figures: dict[str, Any]) -> None:
        """Write all figures of one epoch in one batch."""
        self._tracker.log_metrics(run, epoch_metrics(figures), epoch, figures["time"])

    def end_trial(self, trial: FrozenTrial) -> None:
        """Close a trial's run; what the store missed of it meanwhile is written again."""
        run = trial.user_attrs.get(RUN)
        if run is None or run in self._tracker.behind:
            self.write_trial(trial)
            return
        self._write_end(run, trial)

    def write_trial(self, trial: FrozenTrial) -> str | None:
        """Write everything about a trial, in its child run, which is created where there is none."""
        run = self._find_child(trial) or self._new_child(trial)
        if run is not None:
            self._tracker.behind.discard(run)
            for epoch, figures in epochs_of(trial).items():
                self.log_epoch(run, epoch, figures)
            self._write_end(run, trial)
        return run

    def repair(self, trials: Iterable[FrozenTrial]) -> None:
        """Write again the ended trials whose runs missed something or were never closed, by whichever process."""
        ended = [trial for trial in trials if trial.state.is_finished()]
        closed: dict[str, set[str] | None] = {}
        for trial in ended:
            key, value = _key(trial)
            if key not in closed:
                closed[key] = None if self.parent is None else self._tracker.closed_children(self.parent, key)
            known = closed[key]
            unclosed = known is not None and value not in known
            if unclosed or trial.user_attrs.get(RUN) in self._tracker.behind:
                self.write_trial(trial)

    def log_text(self, text: str, file: str) -> None:
        """Write a text as an artifact of the study's run."""
        self._tracker.log_text(self.parent, text, file)

    def log_folder(self, path: Path, folder: str) -> None:
        """Copy a folder's files to the artifacts of the study's run."""
        self._tracker.log_file(self.parent, path, folder)

    def delete_runs(self) -> None:
        """Mark the study's runs deleted."""
        self.join_parent()
        if self.parent is not None:
            for run in [*self._tracker.child_runs(self.parent), self.parent]:
                self._tracker.delete_run(run)

    def log_best(self, trial: FrozenTrial) -> None:
        """Show the best trial's validation metrics on the study's run."""
        summary = trial.user_attrs[SUMMARY]
        self._tracker.log_metrics(self.parent, summary["metrics"], trial.number, summary["time"])
        self._tracker.set_tags(self.parent, {"best_trial": str(trial.number)})

    def log_confirmation(self, confirmation: Confirmation) -> None:
        """Show the verdict on the study's run: tags for words, metrics for numbers, everything in confirmation.json."""
        winner = confirmation.contender(confirmation.winner)
        numbers = {
            f"confirmed_{confirmation.objective}": winner.mean,
            "optimism": confirmation.optimism,
            "gain_over_defaults": winner.difference,
        }
        known = {name: number for name, number in numbers.items() if number is not None}
        self._tracker.log_metrics(self.parent, known, 0, confirmation.time)
        tags = {"verdict": confirmation.verdict, "confirmed_trial": str(confirmation.winner)}
        self._tracker.set_tags(self.parent, tags)
        self.log_text(json.dumps(confirmation.content(), indent=2), "confirmation.json")

    def log_tests(
        self, metrics: Mapping[str, Mapping[str, float]], winner: str, refit: Mapping[str, Any] | None = None
    ) -> None:
        """Show test figures, named test_…: the winner's on the study's run, and everyone's in runs of phase `final`.

        `refit` tells what the winner's last training was: configuration, train_loss by epoch, seconds, n_parameters.
        """
        now = time.time()
        for name, values in metrics.items():
            figures = {f"test_{metric}": value for metric, value in values.items()}
            if name == winner:
                self._tracker.log_metrics(self.parent, figures, 0, now)
            identity = {"study_uid": self._record.uid, "role": "final", "contender": name}
            run = self._tracker.find_run(identity)
            if run is None:
                tags = {**self._tags(None), **identity, "phase": "final", "state": "complete"}
                params = {}
                if name == winner and refit is not None:
                    rest = {key: value for key, value in refit["configuration"].items() if key != "hyperparameters"}
                    params = {**refit["configuration"]["hyperparameters"], **rest}
                run = self._tracker.start_run(f"test: {name}", parent=self.parent, tags=tags, params=params)
                for epoch, loss in enumerate(refit["train_loss"] if name == winner and refit else [], start=1):
                    self._tracker.log_metrics(run, {"train_loss": loss}, epoch, now)
            self._tracker.log_metrics(run, figures, 0, now)
            self._tracker.end_run(run, "FINISHED")

    def register_model(self, folder: Path, contender: str, trial: int, opening: int) -> None:
        """Register a model folder as the next version of the study's model; what is registered already stays.

        `contender` names its row of the leaderboard, `trial` won the study, and `opening` counts how often its test
        part had been opened.
        """
        run = self._tracker.find_run({"study_uid": self._record.uid, "role": "final", "contender": contender})
        tags = {"study_uid": self._record.uid, "trial": str(trial), "opening": str(opening)}
        self._tracker.register_model(run or self.parent, registered_name(self._study), folder, tags)

    def _write_end(self, run: str, trial: FrozenTrial) -> None:
        summary, failure = trial.user_attrs.get(SUMMARY), trial.user_attrs.get(FAILURE)
        if summary:
            # The best epoch's weights are the model: its figures are the run's last ones, a step after the last epoch.
            figures = {**summary["metrics"], **{key: summary[key] for key in ("best_epoch", "n_parameters", "seconds")}}
            self._tracker.log_metrics(run, figures, summary["epochs"] + 1, summary["time"])
        if trial.user_attrs.get(CONFIGURATION):
            self._tracker.log_text(run, _yaml(trial.user_attrs[CONFIGURATION]), "configuration.yaml")
        if failure:
            self._tracker.log_text(run, failure.get("traceback") or failure["reason"], "failure.txt")
        tags = {"state": trial.state.name.lower(), **({"reason": failure["reason"][:500]} if failure else {})}
        self._tracker.set_tags(run, tags)
        self._tracker.end_run(run, STATUS[trial.state])

    def _find_child(self, trial: FrozenTrial) -> str | None:
        return self._tracker.find_run(self._identity(trial))

    def _identity(self, trial: FrozenTrial) -> dict[str, str]:
        """Return the tags by which a trial's run is found again; those of a confirmation name what they confirm."""
        key, value = _key(trial)
        return {"study_uid": self._record.uid, key: value}

    def _new_child(self, trial: FrozenTrial) -> str | None:
        configuration = trial.user_attrs.get(CONFIGURATION, {})
        tags, params = {"role": "trial"}, {"seed": configuration.get("seed")}
        name = f"trial {original_number(trial)}"
        if CANDIDATE in trial.user_attrs:
            name = f"confirm trial {trial.user_attrs[CANDIDATE]}, run {trial.user_attrs[REPEAT] + 1}"
            tags = {"role": "confirm", "phase": "confirm"}
            params = {**params, "train_seed": trial.user_attrs[TRAIN_SEED]}
        return self._tracker.start_run(
            name,
            parent=self.parent,
            tags={**self._tags(trial.user_attrs.get(COMMIT)), **tags, **self._identity(trial), "state": "running"},
            params={**configuration.get("hyperparameters", {}), **params},
        )

    def _tags(self, commit: str | None) -> dict[str, str]:
        record = self._record
        tags = {
            "study": self._study,
            "phase": "search",
            "data_hash": record.data_hash,
            "protocol": record.protocol,
            "split_seed": str(record.split_seed),
            "seen": record.seen,
            "space": str(record.space.get("name", "")),
            "hrnn_hpo": record.version,
        }
        return {**tags, **({"git_commit": commit} if commit else {})}


def _key(trial: FrozenTrial) -> tuple[str, str]:
    """Return the tag that tells a trial's run from the others: its number, or what it confirms and which run."""
    if CANDIDATE in trial.user_attrs:
        return "confirm_run", f"{trial.user_attrs[CANDIDATE]}-{trial.user_attrs[REPEAT]}"
    return "trial", str(original_number(trial))


def registered_name(study: str) -> str:
    """Return the name of a study's model in MLflow's registry, which admits no / and no :."""
    return re.sub(r"[/:]", "_", study)


def epoch_metrics(figures: dict[str, Any]) -> dict[str, float]:
    """Return an epoch's figures under their MLflow names: plain names are validation metrics."""
    extra = ("train_loss", "seconds", "validation_seconds", "targets_per_second")
    return {**figures["metrics"], **{f"epoch_{key}" if key == "seconds" else key: figures[key] for key in extra}}


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False, allow_unicode=True)

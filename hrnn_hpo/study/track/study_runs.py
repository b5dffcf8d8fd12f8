"""What MLflow shows of a study: a parent run, a child run per trial, and all of it from Optuna's storage alone.

The same functions serve a trial as it runs and a later `sync`; writing a thing twice changes nothing.
"""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.attributes import (
    COMMIT,
    SUMMARY,
)
from hrnn_hpo.study.confirmation import Confirmation
from hrnn_hpo.study.track.trial_runs import TrialRuns, as_yaml


class StudyRuns(TrialRuns):
    """Writes one study to a tracking store. A store that fails is a warning, and `repair` writes what it missed."""

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
        self._tracker.log_text(self.parent, as_yaml(self._record.space), "space.yaml")  # it may have been widened
        self._tracker.log_text(self.parent, as_yaml(self._record.model_dump()), "study.yaml")
        self._tracker.set_tags(self.parent, {"state": "running"})
        self._tracker.end_run(self.parent, "RUNNING")

    def join_parent(self) -> None:
        """Find the study's parent run without changing it; what a worker does."""
        self.parent = self._tracker.find_run({"study_uid": self._record.uid, "role": "study"})

    def close_parent(self, state: str) -> None:
        """Close the parent run: `complete`, `stopped` or `failed`."""
        self._tracker.set_tags(self.parent, {"state": state})
        self._tracker.end_run(self.parent, {"complete": "FINISHED", "stopped": "KILLED"}.get(state, "FAILED"))

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
        tags = {
            "verdict": confirmation.verdict,
            "verdict_doubt": confirmation.doubt or "none",
            "verdict_look": str(confirmation.look),
            "confirmed_trial": str(confirmation.winner),
        }
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


def registered_name(study: str) -> str:
    """Return the name of a study's model in MLflow's registry, which admits no / and no :."""
    return re.sub(r"[/:]", "_", study)

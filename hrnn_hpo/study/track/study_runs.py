"""What MLflow shows of a study: a parent run, a child run per trial, and all of it from Optuna's storage alone.

The same functions serve a trial as it runs and a later `sync`; writing a thing twice changes nothing.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import (
    COMMIT,
    SUMMARY,
)
from hrnn_hpo.study.confirmation import Confirmation
from hrnn_hpo.study.track.markdown import escaped, table
from hrnn_hpo.study.track.trial_runs import TrialRuns, as_yaml, numbers


class StudyRuns(TrialRuns):
    """Writes one study to a tracking store. A store that fails is a warning, and `repair` writes what it missed."""

    def open_parent(self, study: Study) -> None:
        """Find the study's parent run, or create it, and mark it running."""
        identity = {"study_uid": self._record.uid, "role": "study"}
        self.parent = self._tracker.find_run(identity)
        names = ("objective", "protocol", "split_seed", "seed", "seen", "sampler", "pruner")
        params = {name: getattr(self._record, name) for name in names}
        if self.parent is None:
            tags = {**self._tags(study.user_attrs.get(COMMIT)), **identity, "state": "running"}
            self.parent = self._tracker.start_run(self._study, tags=tags, data=self._data(), params=params)
        else:
            self._tracker.complete_run(self.parent, params, self._data())
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

    def describe(self, markdown: str) -> None:
        """Set the description at the head of the study's page."""
        self._tracker.describe(self.parent, markdown)

    def link(self, text: str, role: str, **tags: str) -> str:
        """Return a Markdown link to a run of this study; the text alone where MLflow has no such run."""
        run = self._tracker.find_run({"study_uid": self._record.uid, "role": role, **tags})
        return text if run is None else f"[{text}]({self._tracker.address(run)})"

    def artifact_link(self, text: str, file: str) -> str:
        """Return a Markdown link to a file of the study's run."""
        return text if self.parent is None else f"[{text}]({self._tracker.address(self.parent)}/artifacts/{file})"

    def missed(self, what: str) -> None:
        """Note that MLflow lacks something of this study."""
        self._tracker.failure = self._tracker.failure or what

    def log_best(self, winner: FrozenTrial, trials: Iterable[FrozenTrial]) -> None:
        """Name the winner on the study's run, and show the validation metrics of the best trial so far as curves.

        A curve's steps count the complete trials in the order in which they ended.
        """
        self._tracker.set_tags(self.parent, {"best_trial": str(winner.number)})
        ended = [t for t in trials if t.state == TrialState.COMPLETE and SUMMARY in t.user_attrs]
        ended.sort(key=lambda trial: (trial.user_attrs[SUMMARY]["time"], trial.number))
        if len(ended) < 2:  # one value is no curve
            return
        best = ended[0]
        for step, trial in enumerate(ended, start=1):
            better = trial.values[0] > best.values[0]
            best = trial if better else best
            if better or step in (1, len(ended)):
                figures = best.user_attrs[SUMMARY]["metrics"]
                self._tracker.log_metrics(self.parent, figures, step, trial.user_attrs[SUMMARY]["time"])

    def log_confirmation(self, confirmation: Confirmation) -> None:
        """Show the verdict on the study's run: as tags, and everything in confirmation.json."""
        winner = confirmation.contender(confirmation.winner)
        figures = {
            f"confirmed_{confirmation.objective}": winner.mean,
            "optimism": confirmation.optimism,
            "gain_over_defaults": winner.difference,
        }
        # Nobody gains over the defaults where they have won; a figure of an earlier look must not stay.
        known = dict.fromkeys(figures, "none") | numbers({name: n for name, n in figures.items() if n is not None})
        tags = {
            "verdict": confirmation.verdict,
            "verdict_doubt": confirmation.doubt or "none",
            "verdict_look": str(confirmation.look),
            "confirmed_trial": str(confirmation.winner),
        }
        self._tracker.set_tags(self.parent, {**tags, **known})
        self.log_text(json.dumps(confirmation.content(), indent=2), "confirmation.json")

    def log_tests(
        self,
        metrics: Mapping[str, Mapping[str, float]],
        winner: str,
        refit: Mapping[str, Any] | None = None,
        *,
        opening: int,
        opened: float,
    ) -> None:
        """Show test figures, named test_…: everyone's as metrics of runs of phase `final`, the winner's as tags here.

        On the study's own page, between curves, figures of one value would be charts of one dot.
        `refit` tells what the winner's last training was: configuration, train_loss by epoch, seconds, n_parameters.
        `opened` is when the test users were opened, in seconds since 1970: with the time of the writing, each writing
        would add points.
        Each opening of the test users has runs of its own, since parameters of a run are for good and another trial may
        have won since; `find_run` gives the newest.
        """
        for name, values in metrics.items():
            figures = {f"test_{metric}": value for metric, value in values.items()}
            if name == winner:
                self._tracker.set_tags(self.parent, numbers(figures))
            identity = {"study_uid": self._record.uid, "role": "final", "contender": name}
            numbered = {**identity, "opening": str(opening)}
            run = self._tracker.find_run(numbered)
            if run is None and opening == 1:  # version 0.1.0 had one run for all openings, without a number
                run = self._tracker.find_run(identity)
            params, data = {}, replace(self._data(), context="test")
            if name == winner and refit is not None:
                rest = {key: value for key, value in refit["configuration"].items() if key != "hyperparameters"}
                params = {**refit["configuration"]["hyperparameters"], **rest}
            if run is None:
                tags = {**self._tags(None), **numbered, "phase": "final", "state": "complete"}
                run = self._tracker.start_run(
                    f"test: {name}" if opening == 1 else f"test: {name} (opening {opening})",
                    parent=self.parent,
                    tags=tags,
                    params=params,
                    data=data,
                )
            else:
                self._tracker.complete_run(run, params, data)
            losses = refit["train_loss"] if name == winner and refit else []
            for epoch, loss in enumerate(losses if len(losses) > 1 else [], start=1):  # one value is no curve
                self._tracker.log_metrics(run, {"train_loss": loss}, epoch, opened)
            self._tracker.log_metrics(run, figures, 0, opened)
            self._tracker.describe(
                run, f"{escaped(name)} on the test users.\n\n{table(['metric', 'value'], [*values.items()])}"
            )
            self._tracker.end_run(run, "FINISHED")

    def register_model(self, folder: Path, contender: str, trial: int, opening: int) -> None:
        """Register a model folder as the next version of the study's model; what is registered already stays.

        `contender` names its row of the leaderboard, `trial` won the study, and `opening` counts how often its test
        part had been opened.
        """
        run = self._tracker.find_run({"study_uid": self._record.uid, "role": "final", "contender": contender})
        tags = {"study_uid": self._record.uid, "trial": str(trial), "opening": str(opening)}
        name = registered_name(self._study, self._record.uid)
        self._tracker.register_model(run or self.parent, name, folder, tags, parent=self.parent if run else None)


def registered_name(study: str, uid: str) -> str:
    """Return the name of a study's model in MLflow's registry: the study's own, where no address or filter is in doubt.

    Other characters than letters, digits, spaces and `_.-` become `_`, and digits of the uid then tell the name from
    those of other studies.
    """
    plain = re.sub(r"[^\w .-]", "_", study).strip(" .")[:200]
    return study if plain == study else f"{plain or 'study'}-{uid[:8]}"

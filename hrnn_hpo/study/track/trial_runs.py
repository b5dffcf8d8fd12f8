"""A trial's run in MLflow: its parameters, every epoch's figures, its end."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import (
    CANDIDATE,
    COMMIT,
    CONFIGURATION,
    FAILURE,
    ROLE,
    RUN,
    RUN_INDEX,
    SUMMARY,
    TRAIN_SEED,
    epochs_of,
    standard_error_of,
)
from hrnn_hpo.study.propose.pruners import AFTER_EPOCHS
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.storage.stale_trials import is_lost
from hrnn_hpo.study.track.markdown import escaped
from hrnn_hpo.tracking import Data, Tracker

# MLflow's words for a run's end. It has none for a pruned trial, which ended as it was meant to: name, tag and
# description say so. What was stopped from outside or lost its worker, and goes on later, is KILLED.
STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAIL: "FAILED",
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "SCHEDULED",
}


_ONCE = ("best_epoch", "standard_error", "n_parameters", "seconds")  # of a summary: what has one value


class TrialRuns:
    """Writes the runs of a study's trials, below `parent`, to a tracking store. A store that fails is a warning."""

    def __init__(self, tracker: Tracker, study: str, record: StudyRecord) -> None:
        self._tracker = tracker
        self._study = study
        self._record = record
        self.parent: str | None = None

    def start_trial(self, trial: FrozenTrial) -> str | None:
        """Return the child run of a trial, found again for a retry and new otherwise."""
        run = trial.user_attrs.get(RUN)
        if run is None and (original_number(trial) != trial.number or CANDIDATE in trial.user_attrs):
            run = self._find_child(trial)
        if run is not None:
            self._tracker.behind.add(run)  # its worker may have died between recording an epoch and telling MLflow
            self._tracker.set_tags(run, {"state": "running", "retry": str(trial.number)})
            self._tracker.end_run(run, "RUNNING", self._name(trial))  # it may have been named a pruned one
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
        run = self._find_child(trial)
        if run is not None:
            self._tracker.behind.discard(run)
            self._tracker.complete_run(run, _params(trial), self._data())
        else:
            run = self._new_child(trial)
        if run is not None:
            for epoch, figures in epochs_of(trial).items():
                self.log_epoch(run, epoch, figures)
            self._write_end(run, trial)
        return run

    def repair(self, trials: Iterable[FrozenTrial]) -> None:
        """Write again the ended trials whose runs missed something, or tell of another end or none, whoever ran them.

        A trial that waits to go on, and whose run still seems to be running since its process died, is shown to wait.
        """
        closed: dict[str, dict[str, str] | None] = {}
        for trial in trials:
            if trial.state == TrialState.RUNNING or not (trial.state.is_finished() or RUN in trial.user_attrs):
                continue
            key, value = _key(trial)
            if key not in closed:
                closed[key] = None if self.parent is None else self._tracker.closed_children(self.parent, key)
            known = closed[key]
            unclosed = known is not None and value not in known
            # Stopped or pruned, it went on while the store was away.
            outdated = known is not None and known.get(value) != trial.state.name.lower()
            if trial.state == TrialState.WAITING:
                run = self._find_child(trial) if unclosed else None
                if run is not None:
                    self._write_end(run, trial)
            elif outdated or trial.user_attrs.get(RUN) in self._tracker.behind:
                self.write_trial(trial)

    def _write_end(self, run: str, trial: FrozenTrial) -> None:
        summary, failure = trial.user_attrs.get(SUMMARY), trial.user_attrs.get(FAILURE)
        if summary:
            # The best epoch's weights are the model: its figures are the run's last ones, a step after the last epoch.
            self._tracker.log_metrics(run, summary["metrics"], summary["epochs"] + 1, summary["time"])
            # What has one value is no curve: MLflow draws a chart for each metric.
            self._tracker.set_tags(run, numbers({key: summary[key] for key in _ONCE if key in summary}))
        if trial.user_attrs.get(CONFIGURATION):
            self._tracker.log_text(run, as_yaml(trial.user_attrs[CONFIGURATION]), "configuration.yaml")
        if failure and "traceback" in failure:
            self._tracker.log_text(run, failure["traceback"], "failure.txt")
        elif original_number(trial) != trial.number or CANDIDATE in trial.user_attrs:
            self._tracker.clear_text(run, "failure.txt")  # of an attempt before this one
        reason = failure["reason"][:500] if failure else "none"  # that of an attempt before must not stay
        self._tracker.set_tags(run, {"state": trial.state.name.lower(), "reason": reason})
        self._tracker.describe(run, self._told(trial))
        self._tracker.end_run(run, "KILLED" if is_lost(trial) else STATUS[trial.state], self._name(trial))

    def _told(self, trial: FrozenTrial) -> str:
        """Return in a sentence or two what came of a trial, as Markdown."""
        objective, epochs = escaped(self._record.objective), epochs_of(trial)
        values = trial.values or [None]
        error = standard_error_of(trial)
        range_ = "" if error is None else f" ± {error:.4f}"
        score = "" if values[0] is None else f" {objective} {values[0]:.4f}{range_} on the validation users."
        if trial.state == TrialState.PRUNED:
            why = ", where it was behind the other trials"
            if self._record.pruner.startswith(AFTER_EPOCHS):
                why = ", as every trial is; the best of them go on when all have had as many"
            return f"**Pruned** after epoch {max(epochs, default=0)}{why}.{score}"
        if is_lost(trial):
            reason = trial.user_attrs.get(FAILURE, {}).get("reason", "its worker died")
            return f"**Stopped**: {escaped(str(reason)[:1_000])}. It is to go on from there."
        if trial.state == TrialState.WAITING:
            return f"**Waiting**: its process ended after epoch {max(epochs, default=0)}. It is to go on from there."
        if trial.state == TrialState.FAIL:
            reason = trial.user_attrs.get(FAILURE, {}).get("reason", "its workers died three times at the same epoch")
            return f"**Failed**: {escaped(str(reason)[:1_000])}"
        summary = trial.user_attrs.get(SUMMARY)
        best = f" Best epoch: {summary['best_epoch']} of {summary['epochs']}." if summary else ""
        return f"**{trial.state.name.capitalize()}**.{score}{best}"

    def _find_child(self, trial: FrozenTrial) -> str | None:
        return self._tracker.find_run(self._identity(trial))

    def _identity(self, trial: FrozenTrial) -> dict[str, str]:
        """Return the tags by which a trial's run is found again; a run of a trial trained again names both."""
        key, value = _key(trial)
        return {"study_uid": self._record.uid, key: value}

    def _new_child(self, trial: FrozenTrial) -> str | None:
        tags = {"role": "trial"}
        if CANDIDATE in trial.user_attrs:
            verb = _verb(trial)
            tags = {"role": verb, "phase": verb}
        return self._tracker.start_run(
            self._name(trial),
            parent=self.parent,
            data=self._data(),
            tags={**self._tags(trial.user_attrs.get(COMMIT)), **tags, **self._identity(trial), "state": "running"},
            params=_params(trial),
        )

    def _name(self, trial: FrozenTrial) -> str:
        if CANDIDATE in trial.user_attrs:
            return f"{_verb(trial)} trial {trial.user_attrs[CANDIDATE]}, run {trial.user_attrs[RUN_INDEX] + 1}"
        return f"trial {original_number(trial)}" + (" (pruned)" if trial.state == TrialState.PRUNED else "")

    def _data(self) -> Data:
        source = self._record.data
        return Data(name=Path(source).name or source, digest=self._record.data_hash, source=source)

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


def _verb(trial: FrozenTrial) -> str:
    """Return what a run of a companion study is for: "confirm", or "screen" before."""
    return "screen" if trial.user_attrs.get(ROLE) == "screening" else "confirm"


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """Return what a trial trains, as the parameters of its run."""
    configuration = trial.user_attrs.get(CONFIGURATION, {})
    params = {**configuration.get("hyperparameters", {}), "seed": configuration.get("seed")}
    return params | ({"train_seed": trial.user_attrs[TRAIN_SEED]} if CANDIDATE in trial.user_attrs else {})


def _key(trial: FrozenTrial) -> tuple[str, str]:
    """Return the tag that tells a trial's run from the others: its number, or what it trains again and which run."""
    if CANDIDATE in trial.user_attrs:
        return f"{_verb(trial)}_run", f"{trial.user_attrs[CANDIDATE]}-{trial.user_attrs[RUN_INDEX]}"
    return "trial", str(original_number(trial))


def epoch_metrics(figures: dict[str, Any]) -> dict[str, float]:
    """Return an epoch's figures under their MLflow names: plain names are validation metrics."""
    extra = ("train_loss", "seconds", "validation_seconds", "targets_per_second")
    return {**figures["metrics"], **{f"epoch_{key}" if key == "seconds" else key: figures[key] for key in extra}}


def numbers(values: Mapping[str, float]) -> dict[str, str]:
    """Return figures that have one value as the tags that hold them."""
    return {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in values.items()}


def as_yaml(content: dict[str, Any]) -> str:
    """Return plain values as YAML, in their order."""
    return yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False, allow_unicode=True)

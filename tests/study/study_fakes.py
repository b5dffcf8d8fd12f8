"""Stand-ins for the slow parts of a study, training and MLflow, and workers beside the one that a test starts."""

import json
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import Experiment, ExperimentResult
from hrnn_hpo.study.run.observer import Silent
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.training.progress import EpochReport


class KilledError(BaseException):
    """What a test raises where a process is to die: nothing catches it."""


def dies(*_: Any, **__: Any) -> Any:
    """Die, in place of whatever is called."""
    raise KilledError


def score(experiment: Experiment, epoch: int) -> float:
    """Return what the fake model scores after an epoch; the training seed moves it a little."""
    hp = experiment.configuration.hyperparameters
    distance = math.log(hp.hidden_dimension / 40) ** 2 + math.log10(hp.learning_rate / 0.02) ** 2
    return (1 - 0.5**epoch) / (1 + distance) + (experiment.configuration.seed % 1000) * 1e-6


def user_scores(mean: float) -> NDArray[np.float64]:
    """Return what each of twenty users scores: those of any two fake models differ by nearly the same."""
    return mean + 0.01 * np.cos(np.arange(20) + 100 * mean)


def fake_run(
    experiment: Experiment,
    before_epoch: Callable[[int], None],
    ran: Callable[[int], None],
    *,
    on_epoch: Callable[[EpochReport], None],
    on_users: Callable[[int, NDArray[np.float64]], None] | None = None,
    checkpoint: Path,
    objective: str,
    **_: Any,
) -> ExperimentResult:
    """Behave like run_experiment: a checkpoint after every epoch, before its report; resumed where there is one."""
    done = json.loads(checkpoint.read_text())["epoch"] if checkpoint.exists() else 0
    reports = [
        EpochReport(epoch, 1.0 / epoch, {objective: score(experiment, epoch), "coverage": 0.5}, 0.1, 0.1, 100.0, True)
        for epoch in range(1, experiment.configuration.hyperparameters.epochs + 1)
    ]
    for report in reports[done:]:
        before_epoch(report.epoch)
        ran(report.epoch)
        if on_users is not None:
            on_users(report.epoch, user_scores(report.metrics[objective]))
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(json.dumps({"epoch": report.epoch}))
        on_epoch(report)
    best = max(reports, key=lambda report: report.metrics[objective])
    configuration = experiment.configuration.model_copy(
        update={"best_epoch": best.epoch, "n_threads": 1, "data_hash": experiment.dataset.content_hash}
    )
    return ExperimentResult(None, configuration, best.epoch, best.metrics, reports, 1000, 0.5)  # type: ignore[arg-type]


class FakeTracker:
    """Keeps what a Tracker would write; `down` makes it miss everything, as a store that fails does."""

    def __init__(self) -> None:
        self.uri = "fake"
        self.behind: set[str] = set()
        self.down = False
        self.failure: str | None = None
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, list[dict[str, str]]] = {}  # registered versions by name

    def start_run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str], params: Any = None, data: Any = None
    ) -> str | None:
        if self.down:
            return None
        run = f"run-{len(self.runs)}"
        self.runs[run] = {
            "name": name,
            "parent": parent,
            "tags": dict(tags),
            "params": dict(params or {}),
            "data": data,
        }
        self.runs[run] |= {"metrics": {}, "texts": {}, "status": "RUNNING"}
        return run

    def complete_run(self, run: str | None, params: Mapping[str, Any], data: Any = None) -> None:
        if self._writes(run):
            entry = self.runs[run]  # type: ignore[index]
            entry["params"] = dict(params) | entry["params"]
            entry["data"] = entry["data"] or data

    def find_run(self, tags: Mapping[str, str]) -> str | None:
        return next((run for run, entry in reversed(self.runs.items()) if tags.items() <= entry["tags"].items()), None)

    def log_metrics(self, run: str | None, metrics: Mapping[str, float], step: int, timestamp: float) -> None:
        if self._writes(run):
            self.runs[run]["metrics"].setdefault(step, {}).update(metrics)  # type: ignore[index]
            points = {(name, step, timestamp) for name in metrics}
            self.runs[run].setdefault("points", set()).update(points)  # type: ignore[index]

    def set_tags(self, run: str | None, tags: Mapping[str, str]) -> None:
        if self._writes(run):
            self.runs[run]["tags"].update(tags)  # type: ignore[index]

    def log_text(self, run: str | None, text: str, file: str) -> None:
        if self._writes(run):
            self.runs[run]["texts"][file] = text  # type: ignore[index]

    def clear_text(self, run: str | None, file: str) -> None:
        if self._writes(run) and file in self.runs[run]["texts"]:  # type: ignore[index]
            self.runs[run]["texts"][file] = ""  # type: ignore[index]

    def log_file(self, run: str | None, path: Path, folder: str | None = None) -> None:
        if self._writes(run):
            for file in path.iterdir():
                self.runs[run]["texts"][f"{folder}/{file.name}"] = ""  # type: ignore[index]

    def describe(self, run: str | None, markdown: str) -> None:
        if self._writes(run):
            self.runs[run]["description"] = markdown  # type: ignore[index]

    def address(self, run: str) -> str:
        return f"#/{run}"

    def register_model(
        self, run: str | None, name: str, folder: Path, tags: Mapping[str, str], parent: str | None = None
    ) -> None:
        if self._writes(run):
            self.models.setdefault(name, [])
            if dict(tags) not in self.models[name]:
                self.models[name].append(dict(tags))

    def end_run(self, run: str | None, status: str, name: str | None = None) -> None:
        if self._writes(run):
            self.runs[run]["status"] = status  # type: ignore[index]
            self.runs[run]["name"] = name or self.runs[run]["name"]  # type: ignore[index]

    def delete_run(self, run: str | None) -> None:
        self.runs.pop(run, None)  # type: ignore[arg-type]

    def child_runs(self, parent: str) -> list[str]:
        return [run for run, entry in self.runs.items() if entry["parent"] == parent]

    def closed_children(self, parent: str, tag: str) -> dict[str, str] | None:
        children = [entry for entry in self.runs.values() if entry["parent"] == parent and tag in entry["tags"]]
        ended = [entry["tags"] for entry in children if entry["status"] != "RUNNING"]
        return {tags[tag]: tags["state"] for tags in ended}

    def by_role(self, role: str) -> list[dict[str, Any]]:
        return [entry for entry in self.runs.values() if entry["tags"].get("role") == role]

    def _writes(self, run: str | None) -> bool:
        if run is not None and self.down:
            self.behind.add(run)
        return run is not None and not self.down


class Helpers(Silent):
    """Three more workers, each a thread with a loop of its own, from the moment when the study has begun."""

    def __init__(self, log: Dataset) -> None:
        self._log = log
        self.threads: list[threading.Thread] = []

    def study_started(self, *_: Any) -> None:
        if not self.threads:
            self.threads = [threading.Thread(target=work, args=(self._log, "four")) for _ in range(3)]
            for thread in self.threads:
                thread.start()

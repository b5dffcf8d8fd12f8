"""Fixtures of the study tests: a small log and space, stores of their own, an experiment that takes no time."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from shop import SPACE as SHOP_SPACE
from study_fakes import FakeTracker, fake_run, user_scores

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.study.forecast.measure import Measure

SPACE = """# A space for tests.
extends: aws-hrnn
recipe: null
parameters:
  hidden_dimension: {range: [8, 64], default: 16}
  learning_rate: {kind: training, type: continuous, range: [0.001, 0.1], log: true, default: 0.01, doc: Step.}
  epochs: {kind: training, type: integer, range: [1, 50], default: 4, tunable: false, doc: Most epochs.}
fix: {bptt: 16, epochs: 4}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put mlruns/ and the cache into the test's folder; return mlruns/."""
    monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("HRNN_HPO_STORAGE", raising=False)
    return tmp_path / "mlruns"


@pytest.fixture(scope="session")
def log() -> Dataset:
    """Sixty users with twenty events each: the smallest log that the checks let through, nearly."""
    return markov(n_users=60, n_items=20, n_events=20)


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE, encoding="utf-8")
    return path


@pytest.fixture
def space(space_file: Path) -> SearchSpace:
    return load_space(space_file)


@pytest.fixture
def shop() -> Dataset:
    """Eighty users whose next item the last one tells, for studies that really train."""
    return markov(n_users=80, n_items=20, n_events=15)


@pytest.fixture
def shop_space(tmp_path: Path) -> SearchSpace:
    (tmp_path / "shop.yaml").write_text(SHOP_SPACE, encoding="utf-8")
    return load_space(tmp_path / "shop.yaml")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> FakeTracker:
    """Replace MLflow by a tracker that remembers."""
    fake = FakeTracker()
    for module in ("tune", "team.worker", "results.manage", "results.sync"):
        monkeypatch.setattr(f"hrnn_hpo.study.{module}.Tracker", lambda uri=None: fake)
    return fake


@dataclass
class Runs:
    """What the fake experiment was asked to run; `before_epoch` may be replaced to make things happen."""

    configurations: list[Any] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    before_epoch: Callable[[int, int], None] = lambda run, epoch: None


@pytest.fixture
def fake_experiment(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Replace training by arithmetic: the score grows with the epochs and is best at hidden_dimension 40."""
    runs = Runs()

    def run(experiment: Any, **options: Any) -> Any:
        runs.configurations.append(experiment.configuration)
        number = len(runs.configurations) - 1
        return fake_run(experiment, lambda epoch: runs.before_epoch(number, epoch), runs.epochs.append, **options)

    def save(folder: Path, experiment: Any, result: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "split.json").write_text(json.dumps(result.metrics), encoding="utf-8")

    monkeypatch.setattr("hrnn_hpo.study.run.trial.run_experiment", run)
    monkeypatch.setattr("hrnn_hpo.study.plan.measure", lambda *args, **options: Measure(2.0, 2.0, 1.0, 1.0))
    monkeypatch.setattr("hrnn_hpo.study.run.trial.save_experiment", save)
    monkeypatch.setattr("hrnn_hpo.study.tune.open_test_part", lambda *args, **options: None)
    return runs


@pytest.fixture
def fake_figures(monkeypatch: pytest.MonkeyPatch, fake_experiment: Runs) -> Runs:
    """Let the fake models have users to be judged on in a confirmation."""

    def figures(experiment: Any, result: Any, objective: str, extra_metrics: Any = None) -> Any:
        figures = user_scores(result.metrics[objective])
        return range(len(figures)), figures

    monkeypatch.setattr("hrnn_hpo.study.confirm.confirm_trial.user_figures", figures)
    return fake_experiment

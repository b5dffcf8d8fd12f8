"""Runs that MLflow has, but whose parameters it missed: they come as soon as the store takes them."""

from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.tune import tune
from hrnn_hpo.tracking import EXPERIMENT, Tracker

WRITE = MlflowClient.log_batch


def runs() -> list[Run]:
    client = Tracker()._client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))


def n_datasets(run: Run) -> int:
    assert run.inputs is not None
    return len(run.inputs.dataset_inputs)


def fail(monkeypatch: pytest.MonkeyPatch, *, times: int) -> list[str]:
    """Let the store refuse the parameters of the first runs; return those runs."""
    refused: list[str] = []

    def write(self: MlflowClient, run_id: str, params: Any = (), **options: Any) -> Any:
        if params and len(refused) < times:
            refused.append(run_id)
            raise ConnectionError("the server starts again")
        return WRITE(self, run_id, params=params, **options)

    monkeypatch.setattr("hrnn_hpo.tracking.tracker.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(MlflowClient, "log_batch", write)
    return refused


@pytest.mark.usefixtures("fake_experiment")
def test_a_trial_gets_its_parameters_when_it_ends_and_the_study_with_the_next_command(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = fail(monkeypatch, times=2)
    tune(log, study="s", space=space, n_trials=2)
    study, *trials = runs()
    assert refused == [study.info.run_id, trials[0].info.run_id]
    assert len(trials) == 2
    assert trials[0].data.params["hidden_dimension"] == "16"
    assert [n_datasets(run) for run in trials] == [1, 1]
    tune(log, study="s", n_trials=2)
    assert runs()[0].data.params["objective"] == "ndcg_at_10"


@pytest.mark.usefixtures("fake_experiment")
def test_sync_writes_the_parameters_that_are_missing(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, times=99)
        tune(log, study="s", space=space, n_trials=2)
    assert [run.data.params for run in runs()] == [{}, {}, {}]
    assert sync("s") == 3
    study, *trials = runs()
    assert study.data.params["objective"] == "ndcg_at_10"
    assert all({"hidden_dimension", "batch_size", "seed"} <= run.data.params.keys() for run in trials)
    assert [n_datasets(run) for run in (study, *trials)] == [1, 1, 1]

"""A log, its file, and a model trained on it, for the tests of train, evaluate and recommend."""

from pathlib import Path

import pytest
from small_runs import small_configuration

from hrnn_hpo import api
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import markov, write_csv


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return markov(n_users=60, n_items=40, n_events=20)


@pytest.fixture(scope="module")
def data(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(dataset, tmp_path_factory.mktemp("data"))


@pytest.fixture
def model(tmp_path: Path, data: Path) -> Path:
    return api.train(data, tmp_path / "model", configuration=small_configuration(), device="cpu").folder

"""The rows of the ml-1m benchmark."""

import movielens_1m
import pytest

from hrnn_hpo.config import load_configuration


@pytest.mark.parametrize("kind", movielens_1m.KINDS)
def test_every_kind_of_row_has_a_configuration(kind: str) -> None:
    configuration = movielens_1m.configuration_of(kind, 2, movielens_1m.CONFIG, epochs=7)
    shipped = load_configuration(movielens_1m.CONFIG).hyperparameters
    assert (configuration.seed, configuration.split_seed, configuration.hyperparameters.epochs) == (2, 2, 7)
    assert configuration.hyperparameters.hidden_dimension == shipped.hidden_dimension

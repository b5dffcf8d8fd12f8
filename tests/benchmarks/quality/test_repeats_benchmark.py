"""The variants of the benchmark of new products beside repeats: what their names ask for, and what is told of them."""

import pytest
from small_runs import small_configuration

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.evaluation.untrained.popular import popularity
from hrnn_hpo.experiment import Experiment, prepare_experiment
from hrnn_hpo.experiment import test_part as part_of
from scripts.benchmarks.quality import repeats


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return prepare_experiment(markov(n_users=60, n_items=100), small_configuration("leave-one-out", hidden_dimension=8))


def test_a_variants_name_says_its_hyperparameters() -> None:
    hyperparameters = repeats.configuration_of("ahead-auto-batch-8-dropout-0.5-users", 0, 4).hyperparameters
    assert (hyperparameters.targets_ahead, hyperparameters.batch_size) == ("auto", 8)
    assert hyperparameters.input_dropout == hyperparameters.hidden_dropout == hyperparameters.output_dropout == 0.5
    assert hyperparameters.item_start == "users"
    plain = repeats.configuration_of("batch-8-ignored", 0, 4).hyperparameters
    assert (plain.targets_ahead, plain.batch_size, plain.repeats) == (1, 8, "ignored")
    assert plain.item_start == "random"


def test_every_variant_is_a_configuration() -> None:
    found = [repeats.configuration_of(variant, 0, 4).hyperparameters for variant in repeats.VARIANTS]
    assert len(found) == len(set(repeats.VARIANTS))


def test_a_list_is_as_like_popularitys_as_they_share_products(experiment: Experiment) -> None:
    plain = popularity(experiment.dataset, experiment.split.train)(part_of(experiment), {})
    assert repeats.likeness(experiment, plain) == 1.0
    assert repeats.likeness(experiment, lambda rows: -plain(rows)) < 0.1

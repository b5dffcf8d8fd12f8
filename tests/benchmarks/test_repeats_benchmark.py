"""The variants of the benchmark of new products beside repeats: what their names ask for, and what they start from."""

import numpy as np
import pytest
import repeats
import torch
from small_runs import small_configuration

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.evaluation.untrained.popular import popularity
from hrnn_hpo.experiment import Experiment, prepare_experiment, run
from hrnn_hpo.experiment import test_part as part_of


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return prepare_experiment(markov(n_users=60, n_items=100), small_configuration("leave-one-out", hidden_dimension=8))


def test_a_variants_name_says_its_hyperparameters() -> None:
    hyperparameters = repeats.configuration_of("ahead-auto-batch-8-dropout-0.5-svd", 0, 4).hyperparameters
    assert (hyperparameters.targets_ahead, hyperparameters.batch_size) == ("auto", 8)
    assert hyperparameters.input_dropout == hyperparameters.hidden_dropout == hyperparameters.output_dropout == 0.5
    plain = repeats.configuration_of("batch-8-ignored", 0, 4).hyperparameters
    assert (plain.targets_ahead, plain.batch_size, plain.repeats) == (1, 8, "ignored")


def test_every_variant_is_a_configuration() -> None:
    found = [repeats.configuration_of(variant, 0, 4).hyperparameters for variant in repeats.VARIANTS]
    assert len(found) == len(set(repeats.VARIANTS))


def test_a_list_is_as_like_popularitys_as_they_share_products(experiment: Experiment) -> None:
    plain = popularity(experiment.dataset, experiment.split.train)(part_of(experiment), {})
    assert repeats.likeness(experiment, plain) == 1.0
    assert repeats.likeness(experiment, lambda rows: -plain(rows)) < 0.1


def test_a_table_of_sets_starts_with_the_products_of_whole_sets(experiment: Experiment) -> None:
    dataset = experiment.dataset
    with repeats.table_of_sets(experiment):
        torch.manual_seed(0)
        model = run.HRNN(experiment.catalogue, experiment.configuration.hyperparameters)
        random = model.item_embedding[:-1].detach().norm()
        model.set_popularity(torch.zeros(dataset.n_items), torch.zeros(dataset.n_items))
    table = model.item_embedding[:-1].detach()
    assert float(table.norm()) == pytest.approx(float(random), rel=1e-5)
    had = np.zeros((dataset.n_users, dataset.n_items))  # redone by hand, all singular vectors at once
    for row, user in enumerate(experiment.split.train.users):
        start = dataset.user_offsets[user]
        had[row, dataset.items[start : experiment.split.train.stops[row]]] = 1
    had /= np.sqrt(np.maximum(had.sum(axis=0), 1))
    _, sizes, products = np.linalg.svd(had)
    strongest = products[:8].T * sizes[:8]
    alike = strongest @ strongest.T
    found = (table @ table.T).numpy()
    np.testing.assert_allclose(found / found.trace(), alike / alike.trace(), atol=1e-4)

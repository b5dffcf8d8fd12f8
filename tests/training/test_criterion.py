"""What an update minimizes: negatives drawn as promised, and a sampled loss that is the full one in the limit."""

import numpy as np
import pytest
import torch
from small_runs import model_for
from strategies import dataset_of

from hrnn_hpo.training.criterion import NegativeSampler, full_softmax, sampled_softmax

COUNTS = np.array([100, 25, 4, 1, 0, 9])


@pytest.mark.parametrize(("alpha", "weights"), [(0.0, [1, 1, 1, 1, 1, 1]), (0.5, [10, 5, 2, 1, 1, 3])])
def test_an_item_is_among_the_negatives_as_often_as_its_log_probability_says(alpha: float, weights: list[int]) -> None:
    sampler, rng, n_draws = NegativeSampler(COUNTS, 3, alpha), np.random.default_rng(0), 4000
    seen, log_q = np.zeros(6), np.full(6, np.nan)
    for _ in range(n_draws):
        items, logs = sampler.draw(rng)
        assert (np.diff(items) > 0).all()
        seen[items] += 1
        log_q[items] = logs
    q = np.array(weights) / sum(weights)
    np.testing.assert_allclose(np.exp(log_q), 1 - (1 - q) ** 3, rtol=1e-5)
    np.testing.assert_allclose(seen / n_draws, np.exp(log_q), atol=4 * 0.5 / n_draws**0.5)


def test_items_that_nobody_took_can_be_negatives_too() -> None:
    items, _ = NegativeSampler(np.zeros(4, dtype=int), 1000, 0.5).draw(np.random.default_rng(0))
    assert items.tolist() == [0, 1, 2, 3]


def test_the_only_item_of_a_catalogue_is_its_own_negative_without_a_warning() -> None:
    items, log_q = NegativeSampler(np.array([7]), 3, 0.5).draw(np.random.default_rng(0))
    assert (items.tolist(), log_q.tolist()) == ([0], [0.0])


def test_enough_negatives_make_the_sampled_loss_the_full_one() -> None:
    dataset = dataset_of([[0, 1, 2, 3, 4]])
    model = model_for(dataset, n_negatives=1)
    outputs, targets = torch.randn(6, model.hidden_dimension), torch.tensor([0, 4, 4, 2, 1, 3])
    weights = torch.linspace(0.5, 1.5, 6)
    sampler = NegativeSampler(np.ones(5, dtype=int), 2000, 0.0)
    sampled = sampled_softmax(model, outputs, targets, weights, sampler, np.random.default_rng(0))
    torch.testing.assert_close(sampled, full_softmax(model, outputs, targets, weights))


def test_the_sampled_gradient_touches_targets_and_negatives_alone() -> None:
    dataset = dataset_of([list(range(50))])
    model = model_for(dataset, n_negatives=3)
    outputs, targets = torch.randn(4, model.hidden_dimension), torch.tensor([0, 1, 2, 2])
    sampler = NegativeSampler(np.ones(50, dtype=int), 3, 0.5)
    negatives, _ = sampler.draw(np.random.default_rng(7))
    sampled_softmax(model, outputs, targets, None, sampler, np.random.default_rng(7)).backward()
    gradient = model.item_embedding.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == {0, 1, 2, *negatives.tolist()}


def test_the_start_token_is_never_a_candidate() -> None:
    dataset = dataset_of([[0, 1, 2]])
    model = model_for(dataset)
    full_softmax(model, torch.randn(3, model.hidden_dimension), torch.tensor([0, 1, 2]), None).backward()
    assert model.item_embedding.grad is not None
    assert model.item_embedding.grad[:-1].abs().sum(dim=1).all()
    assert not model.item_embedding.grad[-1].any()

"""The optimizers as one: who decays, how all gradients are clipped, and an exact return from a checkpoint."""

import pytest
import torch
from small_runs import inputs_of, model_for, rows_of
from strategies import dataset_of
from torch.nn.utils import clip_grad_norm_

from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.inputs import pack
from hrnn_hpo.training.optimizer import Optimizer

DATASET = dataset_of([[0, 1, 2, 3, 1], [3, 2, 0]], n_items=40)
EVERYTHING = {"architecture": "hierarchical", "hierarchy": "all", "recency_mask": True}


def add_gradients(model: HRNN, scale: float = 1.0) -> None:
    start, length = rows_of(DATASET, [0, 1])
    packed, _ = pack(inputs_of(DATASET), start, length, torch.device("cpu"))
    outputs, _ = model(packed, model.start_state(2))
    bias = model.score_bias()
    (scale * (outputs.square().sum() + bias.square().sum())).backward()


def test_weights_decay_where_they_are_matrices_and_nowhere_else() -> None:
    model = model_for(DATASET, **EVERYTHING)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = Optimizer(model, learning_rate=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if value.ndim >= 2 else 1.0
        torch.testing.assert_close(value.detach(), factor * before[name], msg=name)
    spared = {name for name, value in model.named_parameters() if value.ndim < 2}
    assert {"item_bias", "popularity_scale", "norm.weight", "blocks.0.recurrence.candidate_bias"} <= spared


def test_the_biases_of_further_heads_do_not_decay_though_they_are_one_matrix() -> None:
    model = model_for(DATASET, further_heads_weight=0.5)
    assert model.further_heads is not None
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    Optimizer(model, learning_rate=0.1, weight_decay=0.5).step()
    assert (model.further_heads.bias == 1).all()
    torch.testing.assert_close(model.further_heads.weight.detach(), torch.full((2, 8, 8), 0.95))


def test_a_sparse_embedding_does_not_decay_and_untouched_rows_stay() -> None:
    model = model_for(DATASET, n_negatives=2)
    before = model.item_embedding.detach().clone()
    optimizer = Optimizer(model, learning_rate=0.1, weight_decay=0.5)
    add_gradients(model)
    optimizer.clip_gradients(1.0)
    optimizer.step()
    changed = (model.item_embedding.detach() != before).any(dim=1)
    # Read as inputs: items 1, 2, 3, 0 of the first user, 3, 2 of the second, and the start token.
    assert changed.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 40]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_clipping_is_pytorchs_over_all_gradients_at_once(scale: float) -> None:
    model, twin = model_for(DATASET, **EVERYTHING), model_for(DATASET, **EVERYTHING)
    for each in (model, twin):
        add_gradients(each, scale)
    Optimizer(model, 0.1, 0.0).clip_gradients(0.7)
    clip_grad_norm_(twin.parameters(), 0.7)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_sparse_gradients_are_clipped_like_dense_ones() -> None:
    sparse, dense = model_for(DATASET, n_negatives=2), model_for(DATASET)
    for model in (sparse, dense):
        add_gradients(model, 100.0)
        Optimizer(model, 0.1, 0.0).clip_gradients(0.5)
    assert sparse.item_embedding.grad is not None
    assert sparse.item_embedding.grad.is_sparse
    for (name, ours), theirs in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad.to_dense(), theirs.grad, msg=name)


def test_zero_grad_forgets_every_gradient() -> None:
    model = model_for(DATASET)
    optimizer = Optimizer(model, 0.1, 0.0)
    add_gradients(model)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_warm_up_scales_the_step() -> None:
    full, tenth = model_for(DATASET), model_for(DATASET)
    before = full.item_bias.detach().clone()
    for model, warmup in ((full, 1.0), (tenth, 0.1)):
        optimizer = Optimizer(model, 0.1, 0.0)
        add_gradients(model)
        optimizer.step(warmup)
    torch.testing.assert_close(tenth.item_bias - before, 0.1 * (full.item_bias - before), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("n_negatives", [0, 2])
def test_an_optimizer_restored_from_its_tensors_goes_on_bit_for_bit(n_negatives: int) -> None:
    def steps(model: HRNN, optimizer: Optimizer, n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            add_gradients(model)
            optimizer.clip_gradients(1.0)
            optimizer.step()

    model = model_for(DATASET, n_negatives=n_negatives)
    optimizer = Optimizer(model, 0.01, 0.1)
    steps(model, optimizer, 7)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    moments = {name: value.clone() for name, value in optimizer.state_tensors().items()}
    steps(model, optimizer, 7)

    other = model_for(DATASET, seed=5, n_negatives=n_negatives)
    other.load_state_dict(weights)
    restored = Optimizer(other, 0.01, 0.1)
    restored.load_state_tensors(moments)
    steps(other, restored, 7)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name

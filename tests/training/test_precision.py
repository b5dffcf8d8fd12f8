"""Large products in bfloat16: the same training within rounding, with weights, states and sums in float32."""

from typing import Any

import pytest
import torch
from small_runs import inputs_of, model_for, small_configuration
from strategies import train_part_of

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.losses import softmax_cross_entropy
from hrnn_hpo.training.trainer import FitResult, TrainingData, fit, in_bfloat16

DATASET = markov(n_users=30, n_items=12, n_events=20)
CPU = torch.device("cpu")


def trained(precision: str, **changes: Any) -> tuple[HRNN, FitResult]:
    hyperparameters = small_configuration(precision=precision, epochs=30, learning_rate=0.02, **changes).hyperparameters
    model = model_for(DATASET, seed=0, scale=0.1, **changes)
    data = TrainingData(DATASET, inputs_of(DATASET), train_part_of(DATASET), occurrences=occurrences(DATASET))
    return model, fit(model, data, hyperparameters, seed=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_in_bfloat16_differs_by_rounding_alone(weighted: bool) -> None:
    torch.manual_seed(0)
    weights = torch.rand(700) if weighted else None
    targets = torch.randint(0, 900, (700,))
    results = {}
    for low in (False, True):
        torch.manual_seed(1)
        parameters = [(torch.randn(*shape) * 0.5).requires_grad_() for shape in ((700, 16), (900, 16), (900,))]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            loss = softmax_cross_entropy(*parameters, targets, weights)
        loss.backward()
        results[low] = [loss.detach(), *(parameter.grad for parameter in parameters)]
    for exact, rounded in zip(results[False], results[True], strict=True):
        assert exact is not None
        assert rounded is not None
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)  # the switch does something
        assert float((exact - rounded).norm() / exact.norm()) < 0.02


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"architecture": "hierarchical", "hierarchy": "all"},
        {"n_negatives": 5},
        {"repeats": "mixed"},
        {"further_heads_weight": 0.5},
    ],
    ids=["control", "hierarchical", "sampled softmax", "repeats", "further heads"],
)
def test_training_in_bfloat16_learns_as_much(changes: dict[str, Any]) -> None:
    (exact, exact_fit), (rounded, rounded_fit) = trained("float32", **changes), trained("bfloat16", **changes)
    assert exact_fit.history[0].train_loss - exact_fit.history[-1].train_loss > 0.2
    for ours, theirs in zip(rounded_fit.history, exact_fit.history, strict=True):
        assert abs(ours.train_loss - theirs.train_loss) < 0.05
    assert not torch.equal(exact.item_embedding, rounded.item_embedding)
    assert all(parameter.dtype == torch.float32 for parameter in rounded.parameters())


def test_only_who_asks_for_it_gets_it_on_a_cpu() -> None:
    assert not in_bfloat16(Hyperparameters(), CPU)
    assert not in_bfloat16(Hyperparameters(precision="float32"), CPU)
    assert in_bfloat16(Hyperparameters(precision="bfloat16"), CPU)

"""Averaged weights: the recursion by hand, put in and taken out again."""

import pytest
import torch
from torch import nn

from hrnn_hpo.training.averaging import AveragedWeights


def model_at(value: float) -> nn.Module:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def weight(model: nn.Module) -> float:
    (parameter,) = model.parameters()
    return parameter.item()


def test_the_mean_follows_its_recursion() -> None:
    model = model_at(0.0)
    averaged = AveragedWeights(model, decay=0.25)
    expected = 0.0
    for n, value in enumerate([1.0, 2.0, -1.0, 4.0], start=1):
        nn.init.constant_(model.weight, value)  # type: ignore[arg-type]
        averaged.update(model)
        decay = min(0.25, (1 + n) / (10 + n))  # 2/11, 3/12 = .25, .25, ...
        expected = decay * expected + (1 - decay) * value
    assert averaged.n_updates == 4
    assert averaged.values[0].item() == pytest.approx(expected)
    assert weight(model) == 4.0


def test_the_average_is_in_the_model_inside_and_the_models_own_outside() -> None:
    model = model_at(1.0)
    averaged = AveragedWeights(model, decay=0.9)
    nn.init.constant_(model.weight, 3.0)  # type: ignore[arg-type]
    model.train()
    with averaged.applied(model):
        assert weight(model) == 1.0
        assert not model.training
    assert weight(model) == 3.0
    assert model.training
    assert averaged.values[0].item() == 1.0


def test_the_models_own_weights_return_after_an_error() -> None:
    model = model_at(1.0)
    averaged = AveragedWeights(model, decay=0.9)
    nn.init.constant_(model.weight, 3.0)  # type: ignore[arg-type]

    def fails() -> None:
        with averaged.applied(model):
            raise ValueError("evaluation failed")

    with pytest.raises(ValueError, match="evaluation failed"):
        fails()
    assert weight(model) == 3.0


def test_no_decay_keeps_nothing_and_changes_nothing() -> None:
    model = model_at(1.0)
    averaged = AveragedWeights(model, decay=0.0)
    nn.init.constant_(model.weight, 3.0)  # type: ignore[arg-type]
    averaged.update(model)
    assert averaged.values == []
    with averaged.applied(model):
        assert weight(model) == 3.0


def test_the_average_is_a_copy() -> None:
    model = model_at(1.0)
    averaged = AveragedWeights(model, decay=0.9)
    with torch.no_grad():
        model.weight.add_(1.0)  # type: ignore[operator]
    assert averaged.values[0].item() == 1.0

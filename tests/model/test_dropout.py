"""Dropout: how often, scaled by what, and the same mask backward."""

import pytest
import torch

from hrnn_hpo.model.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_it_drops_at_its_rate_and_scales_what_stays(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 251)  # not a multiple of eight
    y = Dropout(rate)(x)
    n = x.numel()
    dropped = (y == 0).sum().item()
    rounded = round(256 * rate) / 256
    assert abs(dropped / n - rounded) < 4 * (rate * (1 - rate) / n) ** 0.5
    assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - rounded)))
    assert y.shape == x.shape


def test_places_are_dropped_independently_of_each_other() -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.5)(torch.ones(1000, 64)) == 0
    share_by_column = dropped.float().mean(dim=0)
    assert ((share_by_column - 0.5).abs() < 5 * (0.25 / 1000) ** 0.5).all()
    both = (dropped[:, :-1] & dropped[:, 1:]).float().mean().item()
    assert both == pytest.approx(0.25, abs=0.01)


def test_the_gradient_passes_where_the_value_passed() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 30).requires_grad_()
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(y == 0, 0.0, 2.0))


def test_each_call_draws_anew_and_a_seed_repeats_it() -> None:
    x, dropout = torch.ones(50, 50), Dropout(0.5)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)


def test_nothing_happens_in_evaluation_or_at_rate_zero() -> None:
    x = torch.randn(5, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_a_rate_just_below_one_still_keeps_something_finite() -> None:
    torch.manual_seed(0)
    y = Dropout(0.999)(torch.ones(100, 100))
    assert torch.isfinite(y).all()
    assert (y != 0).any()

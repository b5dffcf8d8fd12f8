"""Blockwise cross-entropies against PyTorch's own and against a literal sum, forward and backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from hrnn_hpo.model import losses
from hrnn_hpo.model.losses import sampled_softmax_cross_entropy, softmax_cross_entropy


@pytest.fixture(params=["one block", "blocks of 3 rows"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one block":
        monkeypatch.setattr(losses, "_block_rows", lambda n_columns, device: 3)


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.double, generator=generator).requires_grad_()


def weights_of(n_rows: int, weighted: bool) -> Tensor | None:
    return torch.linspace(0, 2, n_rows, dtype=torch.double) if weighted else None


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [1, 3, 10])
def test_full_softmax_is_torchs_cross_entropy(n_rows: int, weighted: bool) -> None:
    n_items, width = 7, 4
    states, items, bias = draw(n_rows, width, seed=1), draw(n_items, width, seed=2), draw(n_items, seed=3)
    targets = torch.arange(n_rows) * 5 % n_items
    weights = weights_of(n_rows, weighted)

    loss = softmax_cross_entropy(states, items, bias, targets, weights)
    per_row = cross_entropy(states @ items.t() + bias, targets, reduction="none")
    expected = (per_row if weights is None else per_row * weights).mean()
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(
        torch.autograd.grad(3 * loss, [states, items, bias]),
        torch.autograd.grad(3 * expected, [states, items, bias]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_full_softmax_by_hand() -> None:
    # Scores log 1, log 3 for one state: the target's probability is 3 / 4.
    items = torch.tensor([[0.0], [1.0]])
    loss = softmax_cross_entropy(torch.tensor([[3.0]]).log(), items, torch.zeros(2), torch.tensor([1]))
    assert loss.item() == pytest.approx(-torch.tensor(3 / 4).log().item())


def test_a_hopeless_target_costs_much_and_never_infinity() -> None:
    states, items = torch.tensor([[1000.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = softmax_cross_entropy(states, items, torch.zeros(2), torch.tensor([1]))
    assert 80 < loss.item() < float("inf")
    (gradient,) = torch.autograd.grad(loss, states)
    assert gradient.item() == pytest.approx(2.0)  # of the true loss: items[0] - items[1]


def test_a_score_that_is_not_finite_shows_in_the_loss() -> None:
    states = torch.tensor([[float("nan")]])
    loss = softmax_cross_entropy(states, torch.ones(2, 1), torch.zeros(2), torch.tensor([1]))
    assert torch.isnan(loss)


def literal_sampled(
    states: Tensor,
    items: Tensor,
    bias: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_q: Tensor,
    weights: Tensor | None,
) -> Tensor:
    total = states.new_zeros(())
    for row, target in enumerate(targets.tolist()):
        at_target = states[row] @ items[target] + bias[target]
        scores = [at_target]
        for place, item in enumerate(negatives.tolist()):
            if item != target:  # an accidental hit is no negative
                scores.append(states[row] @ items[item] + bias[item] - log_q[place])
        loss = torch.logsumexp(torch.stack(scores), dim=0) - at_target
        total = total + loss * (1.0 if weights is None else weights[row])
    return total / len(targets)


def sampled(
    states: Tensor,
    items: Tensor,
    bias: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_q: Tensor,
    weights: Tensor | None,
) -> Tensor:
    return sampled_softmax_cross_entropy(
        states, items[targets], bias[targets], items[negatives], bias[negatives], targets, negatives, log_q, weights
    )


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("weighted", [False, True])
def test_sampled_softmax_equals_a_literal_sum_with_hits_masked(weighted: bool) -> None:
    states, items, bias = draw(10, 4, seed=1), draw(12, 4, seed=2), draw(12, seed=3)
    negatives = torch.tensor([7, 0, 3, 11, 5])  # in no order
    targets = torch.tensor([0, 1, 3, 3, 11, 2, 9, 7, 10, 5])  # six of them are negatives
    log_q = torch.linspace(-3, 0, 5, dtype=torch.double)
    weights = weights_of(10, weighted)
    loss = sampled(states, items, bias, targets, negatives, log_q, weights)
    expected = literal_sampled(states, items, bias, targets, negatives, log_q, weights)
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(
        torch.autograd.grad(3 * loss, [states, items, bias]),
        torch.autograd.grad(3 * expected, [states, items, bias]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


@settings(max_examples=40)
@given(
    n_rows=st.integers(1, 8),
    negatives=st.sets(st.integers(0, 11), min_size=1).map(sorted),
    block_rows=st.integers(1, 9),
    seed=st.integers(0, 10_000),
)
def test_any_sample_equals_a_literal_sum(n_rows: int, negatives: list[int], block_rows: int, seed: int) -> None:
    states, items, bias = draw(n_rows, 3, seed=seed), draw(12, 3, seed=seed + 1), draw(12, seed=seed + 2)
    targets = torch.randint(12, (n_rows,), generator=torch.Generator().manual_seed(seed))
    log_q = draw(len(negatives), seed=seed + 3).detach()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "_block_rows", lambda n_columns, device: block_rows)
        loss = sampled(states, items, bias, targets, torch.tensor(negatives), log_q, None)
    expected = literal_sampled(states, items, bias, targets, torch.tensor(negatives), log_q, None)
    torch.testing.assert_close(loss, expected)


def test_only_negatives_are_corrected_by_their_probability() -> None:
    # One negative, all scores 0, drawn with probability 1/4: it stands for four items. 1 / (1 + 4).
    zeros = torch.zeros(1, 2)
    loss = sampled_softmax_cross_entropy(
        zeros,
        zeros,
        torch.zeros(1),
        zeros,
        torch.zeros(1),
        torch.tensor([0]),
        torch.tensor([1]),
        torch.tensor([1 / 4]).log(),
    )
    assert loss.exp().item() == pytest.approx(5.0)


def test_with_every_item_a_sure_negative_the_sampled_loss_is_the_full_one() -> None:
    states, items, bias = draw(6, 4, seed=1), draw(9, 4, seed=2), draw(9, seed=3)
    targets = torch.tensor([0, 8, 3, 3, 5, 1])
    everything = sampled(states, items, bias, targets, torch.arange(9), torch.zeros(9, dtype=torch.double), None)
    torch.testing.assert_close(everything, softmax_cross_entropy(states, items, bias, targets))


def draw_shares(n_rows: int) -> tuple[Tensor, Tensor]:
    """Return the logarithms of a share and of what is added to it; every third row gets nothing added."""
    share = torch.linspace(0.1, 1.0, n_rows, dtype=torch.double)
    added = torch.where(torch.arange(n_rows) % 3 > 0, (1 - share) / 2, 0.0)
    return share.log().requires_grad_(), added.log().requires_grad_()


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_mixed_full_softmax_is_the_logarithm_of_the_sum(weighted: bool) -> None:
    states, items, bias = draw(10, 4, seed=1), draw(7, 4, seed=2), draw(7, seed=3)
    targets, weights = torch.arange(10) * 5 % 7, weights_of(10, weighted)
    share, added = draw_shares(10)

    loss = softmax_cross_entropy(states, items, bias, targets, weights, (share, added))
    probabilities = torch.softmax(states @ items.t() + bias, dim=1)[torch.arange(10), targets]
    per_row = -(share.exp() * probabilities + added.exp()).log()
    expected = (per_row if weights is None else per_row * weights).mean()
    torch.testing.assert_close(loss, expected)
    leaves = [states, items, bias, share, added]
    for found, wanted in zip(torch.autograd.grad(3 * loss, leaves), literal_grads(3 * expected, leaves), strict=True):
        torch.testing.assert_close(found, wanted)


def literal_grads(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Return the gradients; what was never added (a logarithm of -infinity) has the gradient 0, not NaN."""
    return [grad.nan_to_num(0.0) for grad in torch.autograd.grad(loss, leaves)]


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_mixed_sampled_softmax_is_the_logarithm_of_the_sum(weighted: bool) -> None:
    states, items, bias = draw(10, 4, seed=1), draw(7, 4, seed=2), draw(7, seed=3)
    targets, weights = torch.arange(10) * 5 % 7, weights_of(10, weighted)
    negatives, log_q = torch.tensor([5, 1, 2]), torch.tensor([-0.5, -1.0, -2.0], dtype=torch.double)
    share, added = draw_shares(10)

    loss = sampled_softmax_cross_entropy(
        states, items[targets], bias[targets], items[negatives], bias[negatives], targets, negatives, log_q, weights,
        (share, added),
    )  # fmt: skip
    per_row = []
    for row, target in enumerate(targets.tolist()):
        own = states[row] @ items[target] + bias[target]
        others = [
            states[row] @ items[item] + bias[item] - log_q[place]
            for place, item in enumerate(negatives.tolist())
            if item != target
        ]
        probability = torch.softmax(torch.stack([own, *others]), dim=0)[0]
        per_row.append(-(share[row].exp() * probability + added[row].exp()).log())
    losses = torch.stack(per_row)
    expected = (losses if weights is None else losses * weights).mean()
    torch.testing.assert_close(loss, expected)
    leaves = [states, items, bias, share, added]
    for found, wanted in zip(torch.autograd.grad(3 * loss, leaves), literal_grads(3 * expected, leaves), strict=True):
        torch.testing.assert_close(found, wanted)

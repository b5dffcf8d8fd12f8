"""The mixture with a user's own items against its formula written out, in training and in scoring."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from small_runs import model_for
from strategies import dataset_of, datasets
from torch.nn import functional as F

from hrnn_hpo.data.repeats import OwnItems, RepeatBlock, occurrences, own_items_after, own_items_before_repeats
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import expand_ranges
from hrnn_hpo.model.repeats import SCALE, RepeatMixture

# Row 0 had item 4 twice and item 1 once, row 2 item 0 five times; row 1 nothing.
OWN = OwnItems(
    rows=np.array([0, 0, 2]),
    items=np.array([4, 1, 0]),
    counts=np.array([2, 1, 5]),
    gap_buckets=np.array([3, 7, 0], dtype=np.uint8),
)


def mixture_of(width: int, seed: int = 0) -> RepeatMixture:
    mixture = RepeatMixture(width)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.normal_(0.0, 0.1, generator=generator)
    return mixture


@torch.no_grad()
def test_the_mixture_by_hand() -> None:
    mixture = mixture_of(4)
    outputs, scores = torch.randn(3, 4), torch.randn(3, 6)
    mixed = mixture.mix(scores, outputs, OWN).exp()
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(3))
    plain = torch.softmax(scores, dim=1)
    torch.testing.assert_close(mixed[1], plain[1])  # no past: nothing to mix

    gates = torch.sigmoid(outputs @ mixture.gate + SCALE * mixture.gate_bias)
    count_weight, recency = SCALE * float(mixture.count_weight), SCALE * mixture.recency
    weights = {4: math.exp(recency[3]) * 2**count_weight, 1: math.exp(recency[7])}
    for item in range(6):
        q = weights.get(item, 0.0) / sum(weights.values())
        torch.testing.assert_close(mixed[0, item], (1 - gates[0]) * plain[0, item] + gates[0] * q)
    torch.testing.assert_close(mixed[2, 0], (1 - gates[2]) * plain[2, 0] + gates[2])


@torch.no_grad()
def test_only_an_entry_of_the_same_row_counts_however_far_weights_lie_apart() -> None:
    mixture = RepeatMixture(4)
    mixture.recency[3], mixture.recency[0] = -20.0, 20.0  # 200 below and above
    mixture.gate_bias.fill_(10.0)  # g is 1
    mixed = mixture.mix(torch.zeros(3, 6), torch.zeros(3, 4), OWN).exp()
    assert mixed[2, 0].item() == 1.0
    assert mixed[0, [4, 1]].tolist() == pytest.approx([0.0, 1.0], abs=1e-30)


# The same pasts as rows 0 and 2 of a window whose targets are items 1 and 0, in one block and in two.
ONE_BLOCK = [
    RepeatBlock(
        rows=np.array([0, 2]),
        targets=np.array([1, 2]),
        owners=np.array([0, 0, 1]),
        counts=np.array([2, 1, 5], dtype=np.int32),
        gap_buckets=np.array([3, 7, 0], dtype=np.uint8),
    )
]
TWO_BLOCKS = [
    RepeatBlock(np.array([0]), np.array([1]), np.array([0, 0]), ONE_BLOCK[0].counts[:2], ONE_BLOCK[0].gap_buckets[:2]),
    RepeatBlock(np.array([2]), np.array([0]), np.array([0]), ONE_BLOCK[0].counts[2:], ONE_BLOCK[0].gap_buckets[2:]),
]


@pytest.mark.parametrize("blocks", [ONE_BLOCK, TWO_BLOCKS], ids=["one block", "two blocks"])
def test_gradients_are_those_of_the_formula(blocks: list[RepeatBlock]) -> None:
    mixture = mixture_of(4)
    outputs = torch.randn(3, 4, requires_grad=True)
    log_rest, log_own = mixture.shares(outputs, blocks, torch.tensor([True, False, True]))
    assert log_own[1] == float("-inf")
    assert log_rest[1] == 0.0

    logits = outputs @ mixture.gate + SCALE * mixture.gate_bias
    own = torch.stack(
        [mixture.count_weight[0] * math.log(2) + mixture.recency[3], mixture.recency[7]]  # a single event's log is 0
    )
    expected = torch.stack(
        [torch.log_softmax(SCALE * own, dim=0)[1] + F.logsigmoid(logits[0]), F.logsigmoid(logits[2])]
    )
    torch.testing.assert_close(log_own[[0, 2]], expected)
    torch.testing.assert_close(log_rest[[0, 2]], F.logsigmoid(-logits[[0, 2]]))
    slopes, leaves = torch.tensor([0.7, -1.3]), [outputs, *mixture.parameters()]
    for found, wanted in zip(
        torch.autograd.grad(log_own[[0, 2]] @ slopes, leaves),
        torch.autograd.grad(expected @ slopes, leaves),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_a_window_without_repeats_gives_nothing_and_learns_nothing() -> None:
    mixture = mixture_of(4)
    log_rest, log_own = mixture.shares(torch.randn(3, 4), [], torch.tensor([False, True, True]))
    assert (log_own == float("-inf")).all()
    gradients = torch.autograd.grad(log_rest.sum(), list(mixture.parameters()), allow_unused=True)
    assert all(grad is None or torch.isfinite(grad).all() for grad in gradients)


@given(datasets(min_events=2, max_items=8))
@torch.no_grad()
def test_training_learns_the_probability_that_scoring_gives(dataset: Dataset) -> None:
    """Every event as a target of training, and as the next item after its past."""
    model = model_for(dataset, repeats="mixed", scale=0.1)
    assert model.repeats is not None
    starts, lengths = np.asarray(dataset.user_offsets)[:-1], dataset.history_lengths
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    steps, lanes = np.nonzero(np.arange(lengths[0])[:, None] < lengths)
    events = starts[lanes] + steps
    targets = torch.from_numpy(dataset.items[events].astype(np.int64))
    outputs = torch.randn(len(events), model.hidden_dimension)

    blocks = own_items_before_repeats(dataset, occurrences(dataset), starts, lengths)
    log_rest, log_own = model.repeats.shares(outputs, blocks, torch.from_numpy(steps > 0))
    softmax = torch.softmax(model.score(outputs), dim=1)[torch.arange(len(events)), targets]

    owners, past = expand_ranges(starts[lanes], events)
    scores = model.score_after(outputs, own_items_after(owners, dataset.items[past], dataset.timestamps[past]))
    found = scores[torch.arange(len(events)), targets].exp()
    torch.testing.assert_close(log_rest.exp() * softmax + log_own.exp(), found, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_a_model_that_ignores_repeats_scores_as_without_a_past() -> None:
    dataset = dataset_of([[0, 1, 0, 2], [3, 4, 5]])
    for choice in ("ignored", "auto"):  # what nobody has settled is not mixed
        model = model_for(dataset, repeats=choice)
        assert model.repeats is None
        outputs = torch.randn(3, model.hidden_dimension)
        assert torch.equal(model.score_after(outputs, OWN), model.score(outputs))

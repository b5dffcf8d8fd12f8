"""What further heads learn: later events of the same user that train, by a loss that a literal loop gives too."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import model_for, small_configuration
from strategies import dataset_of

from hrnn_hpo.data.featurize import event_features, gap_bucket
from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.further_heads import HORIZONS
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.inputs import pack, step_inputs
from hrnn_hpo.training.batches import Window
from hrnn_hpo.training.criterion import Criterion, NegativeSampler, Targets
from hrnn_hpo.training.targets import draw_further

LOG = markov(n_users=60, n_events=30)


def test_a_further_event_is_one_that_trains_in_a_horizon_that_is_reached() -> None:
    train = prepare_experiment(LOG, small_configuration(protocol="leave-one-out", repeats="ignored")).train
    ahead = draw_further(LOG, train, np.random.default_rng(0)).astype(int)
    trains, inner = np.zeros(LOG.n_events, dtype=np.bool_), []
    for start, stop in zip(LOG.user_offsets[train.users], train.stops, strict=True):
        later = stop - 1 - np.arange(start, stop)
        mine = ahead[start:stop]
        assert np.all(mine <= later)  # never an event that is held back
        assert np.array_equal(mine == 0, later == 0)  # the last event alone has none behind it
        assert np.all(mine[later < 4] <= 3)
        inner += mine[later >= 9].tolist()
        trains[start:stop] = True
    assert not ahead[~trains].any()
    # Each of the two heads takes half of the steps, and each event of its horizon the same part of these.
    counts = np.bincount(inner, minlength=10)
    assert counts.tolist() == pytest.approx([0, *[len(inner) / 6] * 3, *[len(inner) / 12] * 6], rel=0.35)


def test_a_user_of_one_event_has_no_further_one() -> None:
    dataset = dataset_of([[0], [1, 2]])
    train = TrainPart(users=np.array([0, 1]), stops=np.array([1, 3]))
    assert draw_further(dataset, train, np.random.default_rng(0)).tolist() == [0, 1, 0]


# Two users with repeats; the times make gaps of different buckets.
ITEMS = [[0, 1, 0, 2, 1, 0, 3, 0], [4, 4, 1, 4, 2]]
SHOP = dataset_of(ITEMS, times=[[100 * place * place for place in range(len(items))] for items in ITEMS])
AHEAD = np.array([4, 1, 3, 2, 1, 2, 1, 0, 4, 3, 1, 1, 0], dtype=np.uint8)  # by event
WEIGHTS = np.linspace(0.5, 1.5, 13, dtype=np.float32)  # by event


@pytest.mark.parametrize("repeats", ["ignored", "mixed"])
@pytest.mark.parametrize("negatives", [None, [0, 2, 4]], ids=["all items", "negatives"])
def test_the_loss_is_that_of_a_literal_loop_in_float64(repeats: str, negatives: list[int] | None) -> None:
    model = model_for(
        SHOP, repeats=repeats, further_heads_weight=1.0, n_negatives=3 * bool(negatives), scale=0.3
    ).double()
    sampler = None if negatives is None else Drawn(negatives)
    criterion = Criterion(model, SHOP, occurrences(SHOP), sampler)
    window = Window(np.array([0, 1]), np.array([0, 8]), np.array([8, 5]), np.array([True, True]))
    inputs, rows = pack(
        step_inputs(SHOP, event_features(SHOP, 1800)), window.starts, window.lengths, torch.device("cpu")
    )
    outputs = torch.randn(13, model.hidden_dimension, dtype=torch.float64, requires_grad=True)
    at = Targets(inputs, window, rows, torch.from_numpy(WEIGHTS[rows]).double())
    loss = criterion.further(outputs, at, AHEAD[rows], np.random.default_rng(0))

    expected = (
        sum(
            (
                float(WEIGHTS[event]) * loss_of_one(model, outputs[place], int(event), int(AHEAD[event]), sampler)
                for place, event in enumerate(rows)
                if AHEAD[event]
            ),
            start=torch.zeros((), dtype=torch.float64),
        )
        / 13
    )
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0.0)
    leaves = [outputs, *model.further_heads.parameters()]
    for found, wanted in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-9)


class Drawn(NegativeSampler):
    """Always the same negatives, each with its own chance of being there."""

    def __init__(self, items: list[int]) -> None:
        self.items, self.log_q = np.array(items), np.log(np.array([0.5, 0.3, 0.9], dtype=np.float32))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.items, self.log_q


def loss_of_one(model: HRNN, output: torch.Tensor, event: int, ahead: int, sampler: Drawn | None) -> torch.Tensor:
    """Return the loss of the step before `event`, whose head learns the event `ahead` later, from the formulas."""
    assert model.further_heads is not None
    head = next(place for place, (first, last) in enumerate(HORIZONS) if first <= ahead <= last)
    readout = output + model.further_heads.weight[head] @ output + model.further_heads.bias[head]
    target = int(SHOP.items[event + ahead])
    scores = model.item_embedding[:-1] @ readout + model.score_bias()
    if sampler is not None:
        others = [(item, log_q) for item, log_q in zip(sampler.items, sampler.log_q, strict=True) if item != target]
        scores = torch.stack([scores[target], *(scores[item] - float(log_q) for item, log_q in others)])
        target = 0
    probability = torch.softmax(scores, dim=0)[target]
    first = 0 if event < 8 else 8
    if (
        model.repeats is not None and event > first
    ):  # mixed with what the user had before the step, not before the target
        past = SHOP.items[first:event].tolist()
        weights = {}
        for item in set(past):
            last = first + len(past) - 1 - past[::-1].index(item)
            bucket = int(gap_bucket(SHOP.timestamps[event - 1] - SHOP.timestamps[last]))
            recency, by_count = 10 * model.repeats.recency[bucket], 10 * model.repeats.count_weight[0]
            weights[item] = torch.exp(recency + by_count * math.log(past.count(item)))
        gate = torch.sigmoid(readout @ model.repeats.gate + 10 * model.repeats.gate_bias[0])
        own = weights.get(int(SHOP.items[event + ahead]))
        q = own / sum(weights.values()) if own is not None else 0.0
        probability = (1 - gate) * probability + gate * q
    return -probability.log()


CHANGES: dict[str, dict[str, Any]] = {
    "control": {"repeats": "ignored"},
    "hierarchical, repeats": {"architecture": "hierarchical", "repeats": "mixed", "session_gap": 60},
    "negatives, request time": {"n_negatives": 5, "request_time": "gap+session+clock", "repeats": "mixed"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_further_heads_learn_and_teach_the_body(changes: dict[str, Any]) -> None:
    with_heads, without = (
        run_experiment(
            prepare_experiment(LOG, small_configuration(**changes, further_heads_weight=weight)),
            device="cpu",
            fixed_epochs=2,
            validate=False,
        ).model
        for weight in (0.5, 0.0)
    )
    assert with_heads.further_heads is not None
    assert all(parameter.abs().sum() > 0 for parameter in with_heads.further_heads.parameters())
    assert without.further_heads is None
    assert not torch.equal(with_heads.item_embedding, without.item_embedding)


def test_the_smallest_weight_leaves_the_body_as_it_trains_without_heads() -> None:
    """What is drawn for the heads comes from a stream of its own."""
    changes = {"repeats": "mixed", "gradient_clip": 1e9, "input_dropout": 0.3}
    found = [
        run_experiment(
            prepare_experiment(LOG, small_configuration(**changes, further_heads_weight=weight)),
            device="cpu",
            fixed_epochs=2,
            validate=False,
        )
        for weight in (1e-30, 0.0)
    ]
    ours, theirs = (one.model.state_dict() for one in found)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert [one.train_loss for one in found[0].history] == [one.train_loss for one in found[1].history]

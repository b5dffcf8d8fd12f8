"""What an update minimizes: the softmax over all items, or over the target and a few negatives drawn for the update.

Either may be mixed with the distribution over the user's own items. Which event a step learns is targets' business.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hrnn_hpo.data.repeats import Occurrences, own_items_before_repeats
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model.accelerator import send
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.inputs import PackedInputs
from hrnn_hpo.model.losses import Shares, sampled_softmax_cross_entropy, softmax_cross_entropy
from hrnn_hpo.model.repeats import RepeatMixture
from hrnn_hpo.training.batches import Window


class NegativeSampler:
    """Draws items with probability proportional to popularity ** alpha; alpha 0 is uniform."""

    def __init__(self, counts: NDArray[np.int64], n_negatives: int, alpha: float) -> None:
        weights = np.maximum(counts, 1).astype(np.float64) ** alpha  # (V,)
        self.cumulative = np.cumsum(weights / weights.sum())
        self.n_negatives = n_negatives

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return distinct items (M,), ascending, and the log of the probability that each is among them (M,).

        `n_negatives` items are drawn with replacement and repeats dropped, so M may be a little smaller; an item of
        probability q is among them with 1 - (1 - q)^n.
        """
        draws = np.searchsorted(self.cumulative, rng.random(self.n_negatives), side="right")
        items = np.unique(np.minimum(draws, len(self.cumulative) - 1))
        q = self.cumulative[items] - np.where(items > 0, self.cumulative[items - 1], 0.0)
        with np.errstate(divide="ignore"):  # the q of a catalogue's only item is 1
            return items, np.log(-np.expm1(self.n_negatives * np.log1p(-q))).astype(np.float32)


@dataclass(frozen=True)
class Targets:
    """The very next event of each of a window's N steps, and what is known of the steps."""

    inputs: PackedInputs  # what they read
    window: Window
    rows: NDArray[np.int64]  # (N,) the events
    weights: Tensor | None  # (N,) of the steps; None: all 1


@dataclass(frozen=True)
class Criterion:
    """The loss of a model's readouts: all items or negatives, with the user's own items where the model mixes them."""

    model: HRNN
    dataset: Dataset
    occurrences: Occurrences | None  # of the whole log; wanted by a model that mixes in the user's own items
    sampler: NegativeSampler | None  # None: all items

    def __call__(
        self, readouts: Tensor, at: Targets, ahead: NDArray[np.integer] | None, rng: np.random.Generator
    ) -> Tensor:
        """Return the mean weighted loss of readouts (N, H), a scalar, each learning the event `ahead` (N,) of the next.

        None: each learns the next one, as with zeros.
        """
        learned = None if ahead is None else at.rows + ahead
        items = self.dataset.items[at.rows if learned is None else learned]
        targets = send(items, readouts.device, torch.int64)  # (N,)
        shares = None
        if self.model.repeats is not None:
            assert self.occurrences is not None
            shares = repeat_shares(
                self.model.repeats, readouts, at.inputs, self.dataset, self.occurrences, at.window, learned
            )
        if self.sampler is None:
            return full_softmax(self.model, readouts, targets, at.weights, shares)
        return sampled_softmax(self.model, readouts, targets, at.weights, self.sampler, rng, shares)

    def further(self, outputs: Tensor, at: Targets, ahead: NDArray[np.integer], rng: np.random.Generator) -> Tensor:
        """Return the loss of the further heads' readouts, a scalar: a mean over all N steps, 0 where `ahead` is 0."""
        assert self.model.further_heads is not None
        counted = send((ahead > 0).astype(np.float32), outputs.device)  # (N,)
        weights = counted if at.weights is None else counted * at.weights
        return self(self.model.further_heads(outputs, ahead), replace(at, weights=weights), ahead, rng)


def repeat_shares(
    mixture: RepeatMixture,
    outputs: Tensor,
    inputs: PackedInputs,
    dataset: Dataset,
    known: Occurrences,
    window: Window,
    learned: NDArray[np.int64] | None = None,
) -> Shares:
    """Return what the mixture makes of a window's N targets, given the states (N, H) that predict them.

    The targets are the window's own events, or the later ones `learned` (N,).
    """
    repeats = own_items_before_repeats(dataset, known, window.starts, window.lengths, learned)
    return mixture.shares(outputs, repeats, has_past=inputs.items != dataset.n_items)  # all but the start token


def full_softmax(
    model: HRNN, outputs: Tensor, targets: Tensor, weights: Tensor | None, shares: Shares | None = None
) -> Tensor:
    """Return the mean weighted cross-entropy of N targets over all V items, a scalar."""
    return softmax_cross_entropy(outputs, model.item_embedding[:-1], model.score_bias(), targets, weights, shares)


def sampled_softmax(
    model: HRNN,
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    sampler: NegativeSampler,
    rng: np.random.Generator,
    shares: Shares | None = None,
) -> Tensor:
    """Return the mean weighted cross-entropy over each target and negatives shared by the batch, a scalar.

    The item embedding gets a sparse gradient: no work or memory grows with V, the bias (V,) aside.
    """
    drawn, log_q = sampler.draw(rng)
    negatives = send(drawn, targets.device)  # (M,)
    bias = model.score_bias()
    return sampled_softmax_cross_entropy(
        outputs,
        F.embedding(targets, model.item_embedding, sparse=True),
        bias[targets],
        F.embedding(negatives, model.item_embedding, sparse=True),
        bias[negatives],
        targets,
        negatives,
        send(log_q, targets.device),
        weights,
        shares,
    )

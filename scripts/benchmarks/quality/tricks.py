"""Ways to train that the product does not have, patched into its trainer so that the ablation can say what they bring.

One that pays becomes a hyperparameter and leaves this file; the others stay on record with their figures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.experiment import prepared
from hrnn_hpo.experiment import run as experiment
from hrnn_hpo.model import hrnn, losses
from hrnn_hpo.model.losses import softmax_cross_entropy
from hrnn_hpo.training import criterion, trainer


@contextmanager
def decay(last: float) -> Iterator[None]:
    """Let the learning rate fall in a straight line to `last` times its peak in the last epoch a run may take."""
    train_epoch = trainer._train_epoch

    def at_the_rate_of_the_epoch(
        model: Any, data: Any, hp: Hyperparameters, optimizer: Any, sampler: Any, averaged: Any, state: Any, *rest: Any
    ) -> float:
        done = (state.epoch - 1) / max(hp.epochs - 1, 1)
        optimizer.learning_rate = hp.learning_rate * (1 - (1 - last) * done)
        return train_epoch(model, data, hp, optimizer, sampler, averaged, state, *rest)

    with mock.patch.object(trainer, "_train_epoch", at_the_rate_of_the_epoch):
        yield


@contextmanager
def label_smoothing(share: float) -> Iterator[None]:
    """Ask for a target distribution that gives `share` of its mass to all items alike (Szegedy et al. 2016)."""

    plain = losses._BlockwiseSoftmax

    class Smoothed(plain):  # type: ignore[misc, valid-type]
        """The gradient is linear in the targets: that of smoothed ones adds a share of the mean item's."""

        @staticmethod
        def forward(ctx: Any, states: Any, items: Any, bias: Any, targets: Any, weights: Any, *shares: Any) -> Any:
            assert shares == (None, None), "smoothing is written for the plain softmax, `repeats: ignored`"
            ctx.given = states.detach(), items.detach(), targets, weights
            return plain.forward(ctx, states, items, bias, targets, weights, *shares)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            grad_states, grad_items, grad_bias, *rest = plain.backward(ctx, *grads)
            states, items, targets, weights = ctx.given
            rows = states.new_ones(len(states), 1) if weights is None else weights[:, None]
            rows = rows * (share * grads[0] / len(states))  # (N, 1) what each row moves from its target to all items
            grad_states += rows * (items[targets] - items.mean(dim=0))
            grad_items.index_add_(0, targets, rows * states)
            grad_items -= (rows * states).sum(dim=0) / len(items)
            grad_bias.index_add_(0, targets, rows[:, 0])
            grad_bias -= rows.sum() / len(items)
            return grad_states, grad_items, grad_bias, *rest

    with mock.patch.object(losses, "_BlockwiseSoftmax", Smoothed):
        yield


@contextmanager
def adagrad(learning_rate: float) -> Iterator[None]:
    """Take Adagrad in place of AdamW, the optimizer of the first GRU4Rec."""

    class Adagrad(trainer.Optimizer):
        def __init__(self, model: Any, _: float, weight_decay: float) -> None:
            super().__init__(model, learning_rate, weight_decay)
            self.optimizers = [torch.optim.Adagrad(self.parameters, lr=learning_rate)]

    with mock.patch.object(trainer, "Optimizer", Adagrad):
        yield


@contextmanager
def late_targets(alpha: float) -> Iterator[None]:
    """Weigh a target that lies k steps before a user's last one by alpha ** k (Petrov & Macdonald 2022), mean 1."""

    class Weighted(trainer.TrainingData):
        def __init__(self, dataset: Any, inputs: Any, train: Any, _: Any, *more: Any) -> None:
            super().__init__(dataset, inputs, train, None, *more)
            weights = np.zeros(dataset.n_events, dtype=np.float32)
            for start, stop in zip(dataset.user_offsets[train.users], train.stops, strict=True):
                weights[start:stop] = alpha ** np.arange(stop - start - 1, -1, -1)
            object.__setattr__(self, "weights", weights * (self.n_targets / weights.sum()))

    with mock.patch.object(prepared, "TrainingData", Weighted):
        yield


class GatedBlock(hrnn.RecurrentBlock):
    """A residual block whose branches pass a gate read from what they join, with a gated feed-forward part.

    As LiGR has them (Borisyuk et al. 2025): x + sigmoid(W x) * branch(norm(x)), and SwiGLU (Shazeer 2020). Its width is
    two thirds of the plain part's, so that it costs about the same.
    """

    def __init__(self, hidden_dimension: int, architecture: str, hierarchy: str, feed_forward: int, dropout: float):
        super().__init__(hidden_dimension, architecture, hierarchy, 0, dropout)
        width = 2 * feed_forward * hidden_dimension // 3
        self.gate = nn.Linear(hidden_dimension, hidden_dimension)
        self.second_gate = nn.Linear(hidden_dimension, hidden_dimension)
        self.second_norm = nn.LayerNorm(hidden_dimension)
        self.widen = nn.Linear(hidden_dimension, 2 * width)
        self.narrow = nn.Linear(width, hidden_dimension)

    def forward(self, x: Tensor, state: Tensor, *rest: Any) -> tuple[Tensor, Tensor, None]:
        step_sizes, session_starts, bptt, keep, opened = rest
        assert opened is None, "gated branches are written for models that open no session for a request"
        y, state = self.recurrence(self.norm(x), state, step_sizes, session_starts, bptt)
        x = x + torch.sigmoid(self.gate(x)) * self.dropout(y)
        if keep is not None:
            x = x[keep]
        value, through = self.widen(self.second_norm(x)).chunk(2, dim=1)
        y = self.narrow(F.silu(through) * value)
        return x + torch.sigmoid(self.second_gate(x)) * self.dropout(y), state, None


@contextmanager
def gated_branches() -> Iterator[None]:
    """Gate the residual branches and the feed-forward part."""
    with mock.patch.object(hrnn, "RecurrentBlock", GatedBlock):
        yield


class CosineScores(hrnn.HRNN):
    """Scores are a learned scale times the cosine of state and item, plus the item's bias."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.log_scale = nn.Parameter(torch.tensor([np.log(20.0)], dtype=torch.float32))  # a temperature of .05

    def scaled(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        items = F.normalize(self.item_embedding[:-1], dim=1)
        return F.normalize(outputs, dim=1) * self.log_scale.exp(), items

    def score(self, outputs: Tensor) -> Tensor:
        outputs, items = self.scaled(outputs)
        return torch.addmm(self.score_bias(), outputs, items.t())


@contextmanager
def cosine_scores() -> Iterator[None]:
    """Score by cosine with a learned temperature beside the bias."""

    def full_softmax(model: Any, outputs: Tensor, targets: Tensor, weights: Any, shares: Any = None) -> Tensor:
        outputs, items = model.scaled(outputs)
        return softmax_cross_entropy(outputs, items, model.score_bias(), targets, weights, shares)

    with (
        mock.patch.object(experiment, "HRNN", CosineScores),
        mock.patch.object(criterion, "full_softmax", full_softmax),
    ):
        yield


class GatedTables(hrnn.HRNN):
    """k item tables of width H / k: the score is the sum of k products, each weighed by a gate read from the state."""

    n_tables = 4

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.table_gate = nn.Linear(self.hidden_dimension, self.n_tables)

    def run(self, *given: Any, **named: Any) -> tuple[Tensor, Tensor]:
        outputs, states = super().run(*given, **named)
        gates = self.n_tables * torch.softmax(self.table_gate(outputs), dim=1)  # (N, k), mean 1
        return outputs * gates.repeat_interleave(self.hidden_dimension // self.n_tables, dim=1), states


@contextmanager
def gated_tables() -> Iterator[None]:
    """Score with four item tables and a gate, the cheap form of a mixture of logits (Zhai et al. 2023)."""
    with mock.patch.object(experiment, "HRNN", GatedTables):
        yield


class AttentionHead(hrnn.HRNN):
    """A causal attention head before the readout: h + V sum_j a_j m_j over the user's last 50 states m, h among them.

    NARM (Li et al. 2017) joins the current state h and the attended ones by a product; a residual with V = 0 at the
    start is the same family, and begins as the model without it. a is a softmax of scaled products of projections, plus
    a learned number for each distance. What is needed of earlier windows goes along with the recurrences' states, as
    more rows of them and without gradient: rows of zeros are states that have not been.
    """

    span, chunk = 50, 64  # states; steps that are attended from at once

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        assert self.state_width == self.hidden_dimension, "the head is written for the control architecture"
        self.after_head, self.output_dropout = self.output_dropout, nn.Identity()
        self.query = nn.Linear(self.hidden_dimension, self.hidden_dimension, bias=False)
        self.key = nn.Linear(self.hidden_dimension, self.hidden_dimension, bias=False)
        self.value = nn.Parameter(torch.zeros(self.hidden_dimension, self.hidden_dimension))
        self.distance = nn.Parameter(torch.zeros(self.span))  # oldest first

    def start_state(self, n_users: int) -> Tensor:
        return self.item_bias.new_zeros(len(self.blocks) + self.span - 1, n_users, self.hidden_dimension)

    def run(
        self, embedded: Tensor, inputs: Any, state: Tensor, bptt: int = 1 << 30, keep: Any = None, requests: Any = None
    ) -> tuple[Tensor, Tensor]:
        assert requests is None, "the head is written for models that do not read the time of a request"
        n_blocks, sizes = len(self.blocks), torch.tensor(inputs.step_sizes)
        outputs, final = super().run(embedded, inputs, state[:n_blocks], bptt)  # (N, H)
        steps = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        users = torch.arange(len(outputs)) - (sizes.cumsum(0) - sizes)[steps]
        now = outputs.new_zeros(state.shape[1], len(sizes), self.hidden_dimension)
        now = now.index_put((users, steps), outputs)  # (B, T, H)
        past = state[n_blocks:].transpose(0, 1)  # (B, span - 1, H)
        states = torch.cat([past, now], dim=1)  # the state of step t is row span - 1 + t
        added = torch.cat(
            [self.attend(now[:, at : at + self.chunk], states[:, at:]) for at in range(0, len(sizes), self.chunk)],
            dim=1,
        )
        ends = torch.bincount(users, minlength=state.shape[1])[:, None] + torch.arange(self.span - 1)  # (B, span - 1)
        memory = states.detach()[torch.arange(state.shape[1])[:, None], ends].transpose(0, 1)
        outputs = outputs + added[users, steps]
        return self.after_head(outputs if keep is None else outputs[keep]), torch.cat([final, memory])

    def attend(self, now: Tensor, states: Tensor) -> Tensor:
        """Return what t steps' states (B, t, H) read of `states` (B, at least span - 1 + t, H), oldest first."""
        n_steps = now.shape[1]
        states = states[:, : self.span - 1 + n_steps]
        back = torch.arange(states.shape[1]) - torch.arange(n_steps)[:, None]  # (t, S), 0 the oldest of the span
        seen = (back >= 0) & (back < self.span)
        scores = self.query(now) @ self.key(states).transpose(1, 2) / self.hidden_dimension**0.5  # (B, t, S)
        scores = scores + self.distance[back.clamp(0, self.span - 1)]
        seen = seen & (states != 0).any(dim=2)[:, None] | (back == self.span - 1)  # padding reads itself
        return torch.softmax(scores.masked_fill(~seen, float("-inf")), dim=2) @ states @ self.value


@contextmanager
def attention_head() -> Iterator[None]:
    """Read the last 50 states too when items are scored."""
    with mock.patch.object(experiment, "HRNN", AttentionHead):
        yield

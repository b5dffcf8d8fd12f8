"""Ways to train that the product does not have, patched into its trainer so that the ablation can say what they bring.

One that pays becomes a hyperparameter and leaves this file; the others stay on record with their figures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from hrnn_hpo import experiment
from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.model import losses
from hrnn_hpo.training import trainer


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
        def __init__(self, dataset: Any, inputs: Any, train: Any, _: Any, past: Any) -> None:
            super().__init__(dataset, inputs, train, None, past)
            weights = np.zeros(dataset.n_events, dtype=np.float32)
            for start, stop in zip(dataset.user_offsets[train.users], train.stops, strict=True):
                weights[start:stop] = alpha ** np.arange(stop - start - 1, -1, -1)
            object.__setattr__(self, "weights", weights * (self.n_targets / weights.sum()))

    with mock.patch.object(experiment, "TrainingData", Weighted):
        yield

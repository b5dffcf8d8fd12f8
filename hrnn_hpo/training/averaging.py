"""Exponentially averaged weights: what is evaluated and kept is the mean of the recent path, not its last point."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """The running mean of a model's parameters, w <- d w + (1 - d) p after each update (Polyak & Juditsky 1992).

    Early on the decay is min(d, (1 + n) / (10 + n)) after n updates, so that the random start is soon forgotten. A
    decay of 0 keeps nothing and changes nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self.values: list[Tensor] = [p.detach().clone() for p in model.parameters()] if decay else []

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        if not self.decay:
            return
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        torch._foreach_lerp_(self.values, [p.detach() for p in model.parameters()], 1.0 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Put the averaged weights into the model, in evaluation mode, and its own back afterwards."""
        was_training = model.training
        model.eval()
        if self.values:
            _swap(model, self.values)
        try:
            yield
        finally:
            if self.values:
                _swap(model, self.values)
            model.train(was_training)


def _swap(model: nn.Module, values: list[Tensor]) -> None:
    for parameter, value in zip(model.parameters(), values, strict=True):
        own = parameter.data.clone()
        parameter.data.copy_(value)
        value.copy_(own)

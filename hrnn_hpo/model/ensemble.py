"""Several trained models of one shape that answer as one: the mean of their probabilities of every item.

It stands wherever a model does. Outputs and states are those of the members side by side.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hrnn_hpo.data.repeats import OwnItems
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import PackedInputs
from hrnn_hpo.model.repeats import RepeatMixture


class Ensemble(nn.Module):
    """K models whose softmax scores are averaged; an answer takes K times the time and memory of one."""

    def __init__(self, members: Sequence[HRNN]) -> None:
        super().__init__()
        self._members = list(members)
        self.members = nn.ModuleList(members)

    @property
    def catalogue(self) -> Catalogue:
        return self._members[0].catalogue

    @property
    def item_bias(self) -> Tensor:
        """Return the first member's item bias, (V,): what tells the device."""
        return self._members[0].item_bias

    @property
    def hidden_dimension(self) -> int:
        """Return the width of the outputs: all members' side by side, K H."""
        return sum(member.hidden_dimension for member in self._members)

    @property
    def repeats(self) -> RepeatMixture | None:
        """Return the first member's mixture: whether the user's own items are mixed in."""
        return self._members[0].repeats

    def start_state(self, n_users: int) -> Tensor:
        """Return the states of users before their first step, (K n_blocks, B, S)."""
        return torch.cat([member.start_state(n_users) for member in self._members])

    def forward(
        self, inputs: PackedInputs, state: Tensor, bptt: int = 1 << 30, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what scores the items after each step, (N, K H), and the final states (K n_blocks, B, S)."""
        states = state.chunk(len(self._members))
        found = [member(inputs, own, bptt, keep) for member, own in zip(self._members, states, strict=True)]
        return torch.cat([outputs for outputs, _ in found], dim=1), torch.cat([final for _, final in found])

    def score(self, outputs: Tensor) -> Tensor:
        """Return the log of the members' mean softmax of all items, (N, V)."""
        return self._mean(outputs, lambda member, own: torch.log_softmax(member.score(own), dim=1))

    def score_after(self, outputs: Tensor, own_items: OwnItems) -> Tensor:
        """Return the log of the members' mean probability of all items, (N, V), after what users had before."""
        return self._mean(outputs, lambda member, own: torch.log_softmax(member.score_after(own, own_items), dim=1))

    def score_without_own(self, outputs: Tensor) -> Tensor:
        """Return the log of the mean of what the members' softmaxes give each item, (N, V), nothing mixed in."""
        return self._mean(outputs, lambda member, own: member.score_without_own(own))

    def _mean(self, outputs: Tensor, score: Callable[[HRNN, Tensor], Tensor]) -> Tensor:
        parts = outputs.chunk(len(self._members), dim=1)
        total: Tensor | None = None
        for member, own in zip(self._members, parts, strict=True):  # one matrix of scores and a sum at a time
            found = score(member, own)
            total = found if total is None else torch.logaddexp(total, found)
        assert total is not None
        return total - math.log(len(self._members))


AnyModel = HRNN | Ensemble

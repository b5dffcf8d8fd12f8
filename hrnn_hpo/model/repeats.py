"""What a user had before, as a distribution of its own beside the softmax over all items, mixed by a learned gate.

A state of H units cannot hold how often and how long ago each of hundreds of items came. So, as in RepeatNet (Ren et
al., AAAI 2019), the probability of an item is (1 - g) softmax + g q: g in (0, 1) is read from the state, q is a softmax
over the user's own items alone. RepeatNet attends to the states of a session; here q knows each item's count in the
whole history and the time since its last event, which is what personal frequency with decay ranks by.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrnn_hpo.data.featurize import N_GAP_BUCKETS
from hrnn_hpo.data.repeats import OwnItems

# A few scalars must travel far within an epoch, at a learning rate made for matrices: they are kept at a tenth.
SCALE = 10.0


@dataclass(frozen=True)
class OwnEntries:
    """OwnItems as tensors on the model's device, (P,) each."""

    rows: Tensor  # int64, ascending
    items: Tensor  # int64
    log_counts: Tensor  # float32
    gap_buckets: Tensor  # int64

    @classmethod
    def of(cls, own: OwnItems, device: torch.device) -> "OwnEntries":
        return cls(
            rows=torch.from_numpy(own.rows).to(device),
            items=torch.from_numpy(own.items).to(device),
            log_counts=torch.from_numpy(own.counts).to(device, torch.float32).log(),
            gap_buckets=torch.from_numpy(own.gap_buckets).to(device, torch.int64),
        )


class RepeatMixture(nn.Module):
    """The gate g and the distribution q: log q = count_weight log(count) + recency[gap bucket], normalized per row."""

    def __init__(self, hidden_dimension: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(hidden_dimension))
        self.gate_bias = nn.Parameter(torch.full((1,), -1.0 / SCALE))
        self.count_weight = nn.Parameter(torch.full((1,), 1.0 / SCALE))  # q starts at the share of the user's events
        self.recency = nn.Parameter(torch.zeros(N_GAP_BUCKETS))

    def gate_logits(self, outputs: Tensor) -> Tensor:
        """Return log(g / (1 - g)) of states (N, H), (N,)."""
        return SCALE * ((outputs * self.gate).sum(dim=1) + self.gate_bias)  # no product: float32 under autocast too

    def log_q(self, own: OwnEntries, n_rows: int) -> Tensor:
        """Return the log probability of each own item among those of its row, (P,)."""
        return _log_softmax_per_row(self._weights(), own, n_rows)[0]

    def shares(self, outputs: Tensor, own: OwnEntries, targets: Tensor, has_past: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the mixed probability of N targets is made of, two logarithms (N,): 1 - g, and g q(target).

        `own` holds the own items of the R rows whose target is one of them, `targets` (R,) that entry of each; q is 0
        for the others. Rows without `has_past` (N,) have nothing to mix: g is 0.
        """
        logits = self.gate_logits(outputs)
        log_rest = torch.where(has_past, F.logsigmoid(-logits), 0.0)
        rows = own.rows[targets]
        log_q: Tensor = _LogTargets.apply(self._weights(), own, targets, len(outputs))  # type: ignore[no-untyped-call]
        log_own = log_q + F.logsigmoid(logits)[rows]
        return log_rest, torch.full_like(logits, float("-inf")).index_copy(0, rows, log_own)

    def mix(self, scores: Tensor, outputs: Tensor, own: OwnEntries) -> Tensor:
        """Return the log of the mixed probability of every item, (N, V), from the softmax's scores (N, V)."""
        has_past = torch.zeros(len(outputs), dtype=torch.bool, device=outputs.device)
        has_past[own.rows] = True
        logits = self.gate_logits(outputs)
        mixed = torch.log_softmax(scores, dim=1) + torch.where(has_past, F.logsigmoid(-logits), 0.0)[:, None]
        log_own = self.log_q(own, len(outputs)) + F.logsigmoid(logits)[own.rows]
        mixed[own.rows, own.items] = torch.logaddexp(mixed[own.rows, own.items], log_own)
        return mixed

    def _weights(self) -> Tensor:
        """Return recency and, last, count weight, (N_GAP_BUCKETS + 1,)."""
        return SCALE * torch.cat([self.recency, self.count_weight])


class _LogTargets(torch.autograd.Function):
    """log q of one entry a row, (R,); written out since entries are many and weights few."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, own: OwnEntries, targets: Tensor, n_rows: int) -> Tensor:
        log_q, q = _log_softmax_per_row(weights, own, n_rows)
        ctx.own, ctx.n_rows = own, n_rows
        ctx.save_for_backward(q, targets)
        return log_q[targets]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads  # (R,)
        q, targets = ctx.saved_tensors
        own = ctx.own
        row_grads = grad.new_zeros(ctx.n_rows).index_copy(0, own.rows[targets], grad)
        slopes = (-q * row_grads.index_select(0, own.rows)).index_add(0, targets, grad)  # d / d log-weight of an entry
        by_recency = grad.new_zeros(N_GAP_BUCKETS).index_add(0, own.gap_buckets, slopes)
        return torch.cat([by_recency, torch.dot(slopes, own.log_counts)[None]]), None, None, None


def _log_softmax_per_row(weights: Tensor, own: OwnEntries, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return log softmax and softmax of the entries (P,) among those of the same row."""
    values = torch.addcmul(weights[:-1].index_select(0, own.gap_buckets), weights[-1:], own.log_counts)
    largest = values.new_full((n_rows,), float("-inf")).scatter_reduce(0, own.rows, values, "amax")
    values -= largest.index_select(0, own.rows)
    raw = values.exp()
    totals = values.new_zeros(n_rows).index_add(0, own.rows, raw).index_select(0, own.rows)
    return values - totals.log(), raw / totals

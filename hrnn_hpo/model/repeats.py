"""What a user had before, as a distribution of its own beside the softmax over all items, mixed by a learned gate.

A state of H units cannot hold how often and how long ago each of hundreds of items came. So, as in RepeatNet (Ren et
al., AAAI 2019), the probability of an item is (1 - g) softmax + g q: g in (0, 1) is read from the state, q is a softmax
over the user's own items alone. RepeatNet attends to the states of a session; here q knows each item's count in the
whole history and the time since its last event, which is what personal frequency with decay ranks by.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrnn_hpo.data.featurize import N_GAP_BUCKETS
from hrnn_hpo.data.repeats import OwnItems, RepeatBlock
from hrnn_hpo.model.accelerator import send

# A few scalars must travel far within an epoch, at a learning rate made for matrices: they are kept at a tenth.
SCALE = 10.0


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
        return (outputs * self.gate).sum(dim=1) + SCALE * self.gate_bias  # no product: float32 under autocast too

    def weights(self) -> Tensor:
        """Return what an own item is scored by: recency for each gap bucket and, last, the count weight, (G + 1,)."""
        return SCALE * torch.cat([self.recency, self.count_weight])

    def shares(self, outputs: Tensor, repeats: Iterable[RepeatBlock], has_past: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the mixed probability of N targets is made of, two logarithms (N,): 1 - g, and g q(target).

        `repeats` are the rows whose target is an own item; q is 0 for the others. Rows without `has_past` (N,) have
        nothing to mix: g is 0.
        """
        logits = self.gate_logits(outputs)
        log_q: Tensor = _LogRepeats.apply(self.weights(), repeats, len(outputs))  # type: ignore[no-untyped-call]
        return torch.where(has_past, F.logsigmoid(-logits), 0.0), log_q + F.logsigmoid(logits)

    def mix(self, scores: Tensor, outputs: Tensor, own: OwnItems) -> Tensor:
        """Return the log of the mixed probability of every item, (N, V), from the softmax's scores (N, V)."""
        device = outputs.device
        rows, items = send(own.rows, device), send(own.items, device)
        has_past = torch.zeros(len(outputs), dtype=torch.bool, device=device)
        has_past[rows] = True
        logits = self.gate_logits(outputs)
        mixed = torch.log_softmax(scores, dim=1) + torch.where(has_past, F.logsigmoid(-logits), 0.0)[:, None]
        buckets, log_counts = _features(own, device)
        log_own = _log_softmax_per_row(self.weights(), buckets, log_counts, rows, len(outputs))
        log_own = log_own + F.logsigmoid(logits)[rows]
        mixed[rows, items] = torch.logaddexp(mixed[rows, items], log_own)
        return mixed


class _LogRepeats(torch.autograd.Function):
    """log q of repeated items, (N,), -infinity for rows that repeat none.

    Entries are many and weights few, so the derivatives are made with the values, (R, G + 1), and no entry is kept.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, repeats: Iterable[RepeatBlock], n_rows: int) -> Tensor:
        log_q = weights.new_full((n_rows,), float("-inf"))
        all_rows, all_slopes = [], []
        for block in repeats:
            owners = send(block.owners, weights.device)
            targets = send(block.targets, weights.device)
            rows = send(block.rows, weights.device)
            buckets, log_counts = _features(block, weights.device)
            values = _log_softmax_per_row(weights, buckets, log_counts, owners, len(rows))
            log_q[rows] = values[targets]
            # d log q(target) / d weight: the target's own feature less the mean feature under q.
            q = values.exp_()
            slopes = weights.new_zeros(len(rows) * N_GAP_BUCKETS)
            slopes = slopes.index_add_(0, owners * N_GAP_BUCKETS + buckets, q, alpha=-1).view(-1, N_GAP_BUCKETS)
            slopes.scatter_add_(1, buckets[targets, None], torch.ones_like(slopes[:, :1]))
            by_count = log_counts[targets] - weights.new_zeros(len(rows)).index_add_(0, owners, q * log_counts)
            all_slopes.append(torch.cat([slopes, by_count[:, None]], dim=1))
            all_rows.append(rows)
        if all_rows:
            ctx.save_for_backward(torch.cat(all_rows), torch.cat(all_slopes))
        return log_q

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        if not ctx.saved_tensors:
            return grad.new_zeros(N_GAP_BUCKETS + 1), None, None
        rows, slopes = ctx.saved_tensors
        return grad[rows] @ slopes, None, None


def _features(own: OwnItems | RepeatBlock, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the gap buckets (P,), int64, and the logarithms of the counts (P,), float32."""
    buckets = send(own.gap_buckets, device, torch.int64)
    return buckets, send(own.counts, device, torch.float32).log_()


def _log_softmax_per_row(weights: Tensor, buckets: Tensor, log_counts: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """Return the log softmax of P entries' scores among those of the same row, (P,)."""
    values = torch.addcmul(weights[:-1].index_select(0, buckets), weights[-1:], log_counts)
    largest = values.new_full((n_rows,), float("-inf")).scatter_reduce(0, rows, values, "amax")
    values -= largest.index_select(0, rows)
    totals = values.new_zeros(n_rows).index_add(0, rows, values.exp())
    return values - totals.log().index_select(0, rows)

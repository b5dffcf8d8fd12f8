"""Cross-entropy over a catalogue of items, with the logits and their gradient made in cache-sized blocks.

`softmax_cross_entropy` is exact; `sampled_softmax_cross_entropy` scores a few shared negatives instead of V items.
"""

from typing import Any

import torch
from torch import Tensor

from hrnn_hpo.model.accelerator import block_elements

# A block of logits should stay in the cache (1.2 MB of float32), have enough rows for its products to be worth their
# start (the gradient of the items is read and written once a block), and never pass 32 MiB, where the allocator maps
# and unmaps it at every use. That is a CPU; a GPU wants as many rows at once as its memory allows.
CACHED_ELEMENTS = 300_000
LEAST_ROWS = 128
MOST_ELEMENTS = 8_000_000


# Two logarithms (N,) for a target probability that is only partly the softmax's: the softmax's share, and what another
# distribution adds. The loss is then -log(exp(share) softmax[target] + exp(added)).
Shares = tuple[Tensor, Tensor]


def softmax_cross_entropy(
    states: Tensor,
    items: Tensor,
    bias: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    shares: Shares | None = None,
) -> Tensor:
    """Return the mean over N states of weight x -log softmax(states @ items.T + bias)[target], a scalar.

    states (N, H), items (V, H), bias (V,), targets (N,) in [0, V), weights (N,) or None for all ones; `shares` mixes
    the softmax with another distribution. The loss and its gradients come from one pass over blocks of rows: no N x V
    matrix is ever held. Under autocast the three products are made in its dtype, the softmax and all sums over blocks
    in float32.
    """
    share, added = shares or (None, None)
    loss: Tensor = _BlockwiseSoftmax.apply(  # type: ignore[no-untyped-call]
        states, items, bias, targets, weights, share, added
    )
    return loss


def _block_rows(n_columns: int, device: torch.device) -> int:
    elements = block_elements(device)
    if elements is not None:
        return max(1, elements // n_columns)
    return max(1, min(max(LEAST_ROWS, CACHED_ELEMENTS // n_columns), MOST_ELEMENTS // n_columns))


class _BlockwiseSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        items: Tensor,
        bias: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        share: Tensor | None,
        added: Tensor | None,
    ) -> Tensor:
        n_rows, n_items = len(states), len(items)
        needs_grad = any(ctx.needs_input_grad)
        block_rows = min(n_rows, _block_rows(n_items, states.device))
        probabilities_buffer = states.new_empty(block_rows, n_items)
        kind = states.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
        # What the products read and write; in full precision these are the arrays themselves.
        states_in, items_in, bias_in = states.to(dtype), items.to(dtype), bias.to(dtype)
        buffer = probabilities_buffer.to(dtype)
        target_probabilities = states.new_empty(n_rows)
        weighted = weights is not None or share is not None
        if needs_grad:
            grad_states = torch.empty_like(states_in)
            grad_items = torch.zeros_like(items)
            grad_bias = torch.zeros_like(bias)
            row_weights = states.new_ones(n_rows) if weights is None else weights.clone()
        for begin in range(0, n_rows, block_rows):
            end = min(begin + block_rows, n_rows)
            block, target = states_in[begin:end], targets[begin:end, None]
            logits, probabilities = buffer[: end - begin], probabilities_buffer[: end - begin]  # (rows, V)
            torch.addmm(bias_in, block, items_in.t(), out=logits)
            torch.softmax(logits, dim=1, dtype=states.dtype, out=probabilities)
            at_target = probabilities.gather(1, target)
            target_probabilities[begin:end] = at_target[:, 0]
            if needs_grad:
                if share is not None and added is not None:
                    row_weights[begin:end] *= _mix(at_target[:, 0], share[begin:end], added[begin:end])[1]
                probabilities.scatter_(1, target, at_target - 1.0)  # d loss / d logits
                grad_bias.addmv_(probabilities.t(), row_weights[begin:end])
                slopes = logits.copy_(probabilities) if dtype != states.dtype else probabilities
                torch.mm(slopes, items_in, out=grad_states[begin:end])
                if weighted:
                    block = block * row_weights[begin:end, None].to(dtype)
                if dtype == states.dtype:
                    grad_items.addmm_(slopes.t(), block)
                else:
                    grad_items += torch.mm(slopes.t(), block)
        losses, part = _mix(target_probabilities, share, added)
        if weights is not None:
            losses = losses * weights
        if needs_grad:
            scale = 1.0 / n_rows
            grad_states = grad_states.to(states.dtype)
            grad_states.mul_((row_weights * scale)[:, None] if weighted else scale)
            share_grads: tuple[Tensor, ...] = ()
            if share is not None:
                full = torch.full_like(part, scale) if weights is None else weights * scale
                share_grads = (-part * full, (part - 1.0) * full)
            ctx.save_for_backward(grad_states, grad_items.mul_(scale), grad_bias.mul_(scale), *share_grads)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = grads
        states, items, bias, *shares = (grad * scale for grad in ctx.saved_tensors)
        share, added = shares or (None, None)
        return states, items, bias, None, None, share, added


def _mix(probabilities: Tensor, share: Tensor | None, added: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return -log of the targets' mixed probabilities (N,), and the part of each that is the softmax's (N,)."""
    log_softmax = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    if share is None or added is None:
        return -log_softmax, torch.ones_like(log_softmax)
    mine = share + log_softmax
    mixed = torch.logaddexp(mine, added)
    return -mixed, torch.exp(mine - mixed)


def sampled_softmax_cross_entropy(
    states: Tensor,
    target_items: Tensor,
    target_bias: Tensor,
    negative_items: Tensor,
    negative_bias: Tensor,
    targets: Tensor,
    negatives: Tensor,
    negative_log_q: Tensor,
    weights: Tensor | None = None,
    shares: Shares | None = None,
) -> Tensor:
    """Return the mean over N states of weight x -log softmax over the target and M shared negatives, a scalar.

    states (N, H), target_items (N, H) and target_bias (N,) belong to each state's target; negative_items (M, H),
    negative_bias (M,) and the item codes `negatives` (M,) are shared by all states. The negatives' scores are
    corrected by their log expected count `negative_log_q` (M,), the target's is not (Bengio & Senecal 2008;
    correcting the target too biases the estimate, since it is always in the sum). A negative that happens to be
    the target of a row is masked in that row. `shares` mixes the softmax with another distribution.
    """
    share, added = shares or (None, None)
    loss: Tensor = _SampledSoftmax.apply(  # type: ignore[no-untyped-call]
        states,
        target_items,
        target_bias,
        negative_items,
        negative_bias - negative_log_q,
        targets,
        negatives,
        weights,
        share,
        added,
    )
    return loss


class _SampledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        target_items: Tensor,
        target_bias: Tensor,
        negative_items: Tensor,
        negative_bias: Tensor,
        targets: Tensor,
        negatives: Tensor,
        weights: Tensor | None,
        share: Tensor | None,
        added: Tensor | None,
    ) -> Tensor:
        n_rows, n_negatives = len(states), len(negatives)
        block_rows = min(n_rows, _block_rows(n_negatives, states.device))
        buffer = states.new_empty(block_rows, n_negatives + 1)
        losses, part = states.new_empty(n_rows), states.new_empty(n_rows)
        grad_states = torch.empty_like(states)
        grad_targets = torch.empty_like(target_items)
        grad_target_bias = torch.empty_like(target_bias)
        grad_negatives = torch.zeros_like(negative_items)
        grad_negative_bias = torch.zeros_like(negative_bias)
        row_weights = states.new_full((n_rows,), 1.0 / n_rows) if weights is None else weights / n_rows
        # Which negative may be a row's target, and whether it is: found once by sorting the negatives. No list is made
        # of the few rows where it is, since a GPU would have to be asked how long that is.
        order = torch.argsort(negatives)
        place = torch.searchsorted(negatives[order], targets).clamp_max(n_negatives - 1)
        column = order[place]
        is_hit, columns = (negatives[column] == targets)[:, None], column[:, None] + 1  # (N, 1)
        for begin in range(0, n_rows, block_rows):
            end = min(begin + block_rows, n_rows)
            block, own, weight = states[begin:end], target_items[begin:end], row_weights[begin:end]
            scores = buffer[: end - begin]
            scores[:, 0] = torch.linalg.vecdot(block, own) + target_bias[begin:end]
            scores[:, 1:] = torch.addmm(negative_bias, block, negative_items.t())
            at = columns[begin:end]
            scores.scatter_(1, at, scores.gather(1, at).masked_fill_(is_hit[begin:end], float("-inf")))
            torch.softmax(scores, dim=1, out=scores)
            shares = (None, None) if share is None or added is None else (share[begin:end], added[begin:end])
            losses[begin:end], part[begin:end] = _mix(scores[:, 0], *shares)
            scores[:, 0] -= 1.0
            scores.mul_((weight * part[begin:end])[:, None])
            at_target, at_negatives = scores[:, 0], scores[:, 1:]
            torch.addmm(at_target[:, None] * own, at_negatives, negative_items, out=grad_states[begin:end])
            torch.mul(at_target[:, None], block, out=grad_targets[begin:end])
            grad_target_bias[begin:end] = at_target
            grad_negatives.addmm_(at_negatives.t(), block)
            grad_negative_bias.add_(at_negatives.sum(0))
        share_grads = (-part * row_weights, (part - 1.0) * row_weights) if share is not None else ()
        ctx.save_for_backward(
            grad_states, grad_targets, grad_target_bias, grad_negatives, grad_negative_bias, *share_grads
        )
        return (losses * row_weights).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = grads
        found = [grad * scale for grad in ctx.saved_tensors]
        share, added = found[5:] or (None, None)
        return (*found[:5], None, None, None, share, added)

"""Gated recurrences over packed sequences, forward and backward written out, with state surgery at session starts.

A packed batch holds B users sorted by descending length and T steps: step t keeps the first `step_sizes[t]` users,
so N = sum(step_sizes) rows carry no padding. The loop does the work that must be sequential and nothing else; every
product that can wait is one large product after it. Blocks and embeddings are hrnn's business.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# (last session states (k, H), user states (k, H)) -> (first states of the new sessions (k, H), new user states (k, H))
SessionStart = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class ControlGRU(nn.Module):
    """One GRU over the whole history, as in Amazon's HRNN (Ma et al. 2020): the input carries the session signal.

    The state of a user is (H,): the hidden state.
    """

    def __init__(self, hidden_dimension: int) -> None:
        super().__init__()
        self.hidden_dimension = hidden_dimension
        self.input = nn.Linear(hidden_dimension, 3 * hidden_dimension)
        self.recurrent = nn.Parameter(torch.empty(hidden_dimension, 3 * hidden_dimension))
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_dimension))
        _reset_gru(self.input, self.recurrent)

    def forward(
        self, x: Tensor, state: Tensor, step_sizes: Sequence[int], session_starts: Sequence[Tensor | None], bptt: int
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (N, H) and final states (B, H) of packed inputs (N, H) from states (B, H).

        `session_starts` is not read: this recurrence learns from the control signal what a new session means.
        """
        gates = self.input(x)  # (N, 3H)
        outputs, final, _ = _Scan.apply(  # type: ignore[no-untyped-call]
            gates, state, None, self.recurrent, self.candidate_bias, None, step_sizes, None, None, bptt
        )
        return outputs, final


class HierarchicalGRU(nn.Module):
    """Two GRUs (Quadrana et al. 2017): a session GRU that starts each session from the state of a user GRU.

    At a session start the user GRU takes the last state of the session GRU, and the session GRU starts at
    tanh(W u + b), eq. 4 of the paper. Variant `all` also adds a projection of u to every step's input (HRNN All).
    The state of a user is (2H,): session state, user state.
    """

    def __init__(self, hidden_dimension: int, variant: str = "init") -> None:
        super().__init__()
        self.hidden_dimension = hidden_dimension
        self.input = nn.Linear(hidden_dimension, 3 * hidden_dimension)
        self.recurrent = nn.Parameter(torch.empty(hidden_dimension, 3 * hidden_dimension))
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_dimension))
        _reset_gru(self.input, self.recurrent)
        self.user = nn.GRUCell(hidden_dimension, hidden_dimension)
        self.start = nn.Linear(hidden_dimension, hidden_dimension)
        _reset_user_level(self.user, self.start)
        self.user_input = nn.Linear(hidden_dimension, 3 * hidden_dimension, bias=False) if variant == "all" else None

    def start_session(self, session_state: Tensor, user_state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first session states and the new user states, both (k, H), of k users who start a session."""
        user_state = self.user(session_state, user_state)
        return torch.tanh(self.start(user_state)), user_state

    def forward(
        self, x: Tensor, state: Tensor, step_sizes: Sequence[int], session_starts: Sequence[Tensor | None], bptt: int
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (N, H) and final states (B, 2H) of packed inputs (N, H) from states (B, 2H).

        `session_starts[t]` holds the users, as rows of step t, whose step t opens a session; None where nobody does.
        """
        gates = self.input(x)  # (N, 3H)
        hidden, user = state.chunk(2, dim=1)
        outputs, final, final_user = _Scan.apply(  # type: ignore[no-untyped-call]
            gates,
            hidden,
            user,
            self.recurrent,
            self.candidate_bias,
            None if self.user_input is None else self.user_input.weight,
            step_sizes,
            session_starts,
            self.start_session,
            bptt,
            *self.user.parameters(),
            *self.start.parameters(),
        )
        return outputs, torch.cat([final, final_user], dim=1)


def _reset_gru(projection: nn.Linear, recurrent: Tensor) -> None:
    hidden = recurrent.shape[0]
    nn.init.xavier_uniform_(projection.weight, gain=1.0)
    nn.init.zeros_(projection.bias)
    for gate in range(3):
        nn.init.orthogonal_(recurrent.data[:, gate * hidden : (gate + 1) * hidden])


def _reset_user_level(user: nn.GRUCell, start: nn.Linear) -> None:
    """Let what a session knew survive the way through user state and next start: PyTorch's own start shrinks it."""
    hidden = user.hidden_size
    nn.init.xavier_uniform_(user.weight_ih)
    for gate in range(3):
        nn.init.orthogonal_(user.weight_hh.data[gate * hidden : (gate + 1) * hidden])
    nn.init.orthogonal_(start.weight)
    for bias in (user.bias_ih, user.bias_hh, start.bias):
        nn.init.zeros_(bias)


class _Scan(torch.autograd.Function):
    """The GRU h' = (1 - z) n + z h, r and z and n in this order, reset gate after the product (as in cuDNN).

    The gradient of the states is cut every `bptt` steps. Session starts run under autograd, step by step, and their
    small graphs are kept for the backward pass; everything else is explicit.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        hidden: Tensor,
        user: Tensor | None,
        recurrent: Tensor,
        candidate_bias: Tensor,
        user_weight: Tensor | None,
        step_sizes: Sequence[int],
        session_starts: Sequence[Tensor | None] | None,
        start_session: SessionStart | None,
        bptt: int,
        *start_parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        n_rows, width = gates.shape
        h = width // 3
        needs_grad = any(ctx.needs_input_grad)
        bias = torch.cat([candidate_bias.new_zeros(2 * h), candidate_bias])
        acts = gates.new_empty(n_rows, 3, h)  # r, z, hidden part of n; (N, 3, H)
        candidates = gates.new_empty(n_rows, h)
        previous = gates.new_empty(n_rows, h)
        outputs = gates.new_empty(n_rows, h)
        final = hidden.clone()
        if user is not None:
            user = user.clone()
            user_gates = None if user_weight is None else user @ user_weight.t()  # (B, 3H)
            users_in = None if user_weight is None else gates.new_empty(n_rows, h)
        graphs: dict[int, tuple[Tensor, ...]] = {}
        last, end = hidden, 0
        for t, size in enumerate(step_sizes):
            begin, end = end, end + size
            h_in = previous[begin:end]
            h_in.copy_(last[:size])
            if start_session is not None and user is not None and session_starts is not None:
                rows = session_starts[t]
                if rows is not None:
                    with torch.enable_grad() if needs_grad else torch.no_grad():
                        before = h_in[rows].requires_grad_(needs_grad), user[rows].requires_grad_(needs_grad)
                        after = start_session(*before)
                    if needs_grad:
                        graphs[t] = (rows, *before, *after)
                    h_in[rows] = after[0].detach()
                    user[rows] = after[1].detach()
                    if user_gates is not None and user_weight is not None:
                        user_gates[rows] = after[1].detach() @ user_weight.t()
            act, candidate, x = acts[begin:end], candidates[begin:end], gates[begin:end]
            if user is not None and user_gates is not None and users_in is not None:
                x = x + user_gates[:size]
                users_in[begin:end] = user[:size]
            torch.addmm(bias, h_in, recurrent, out=act.view(size, 3 * h))
            act[:, :2].view(size, 2, h).add_(x[:, : 2 * h].view(size, 2, h)).sigmoid_()
            torch.addcmul(x[:, 2 * h :], act[:, 0], act[:, 2], out=candidate).tanh_()
            last = outputs[begin:end]
            torch.lerp(candidate, h_in, act[:, 1], out=last)
            stays = step_sizes[t + 1] if t + 1 < len(step_sizes) else 0
            if stays < size:
                final[stays:size] = last[stays:]
        if needs_grad:
            ctx.save_for_backward(acts, candidates, previous, recurrent, user_weight, *start_parameters)
            ctx.users_in = users_in if user is not None else None
            ctx.graphs, ctx.step_sizes, ctx.bptt = graphs, list(step_sizes), bptt
        ctx.mark_non_differentiable(*([final] if user is None else [final, user]))  # states go on without gradient
        return outputs, final, user

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_outputs = grads[0]
        acts, candidates, previous, recurrent, user_weight, *start_parameters = ctx.saved_tensors
        n_rows, _, h = acts.shape
        reset, update, hidden_part = acts.unbind(1)
        # What each gate's gradient is to the gradient of its step's output, for all steps at once; (N, 2, H), (N, H).
        slopes = acts.new_empty(n_rows, 2, h)
        scratch = torch.addcmul(update, update, update, value=-1)  # z (1 - z)
        torch.sub(previous, candidates, out=slopes[:, 0]).mul_(scratch)
        torch.addcmul(acts.new_ones(1), candidates, candidates, value=-1, out=scratch)  # 1 - n^2
        torch.addcmul(scratch, scratch, update, value=-1, out=slopes[:, 1])
        reset_slope = torch.addcmul(reset, reset, reset, value=-1).mul_(hidden_part)

        grad_gates = acts.new_empty(n_rows, 3, h)  # at the input's side: r, z, n
        grad_hidden_gates = acts.new_empty(n_rows, 3, h)  # at the recurrent side: r, z, n * r
        transposed = recurrent.t().contiguous()
        step_sizes = ctx.step_sizes
        grad_state = acts.new_zeros(step_sizes[0], h)
        grad_user = acts.new_zeros(step_sizes[0], h) if start_parameters else None
        start_grads = [torch.zeros_like(parameter) for parameter in start_parameters]
        end = n_rows
        for t in range(len(step_sizes) - 1, -1, -1):
            size = step_sizes[t]
            begin = end - size
            step = slice(begin, end)
            grad = grad_state[:size]
            grad.add_(grad_outputs[step])
            at_gates, at_hidden = grad_gates[step], grad_hidden_gates[step]
            torch.mul(grad.unsqueeze(1), slopes[step], out=at_gates[:, 1:])
            torch.mul(at_gates[:, 2], reset_slope[step], out=at_gates[:, 0])
            at_hidden[:, :2] = at_gates[:, :2]
            torch.mul(at_gates[:, 2], reset[step], out=at_hidden[:, 2])
            grad.mul_(update[step])
            grad.addmm_(at_hidden.view(size, 3 * h), transposed)
            if grad_user is not None:
                if user_weight is not None:
                    grad_user[:size].addmm_(at_gates.view(size, 3 * h), user_weight)
                if t in ctx.graphs:
                    rows, before_hidden, before_user, after_hidden, after_user = ctx.graphs.pop(t)
                    pieces = torch.autograd.grad(
                        (after_hidden, after_user),
                        (before_hidden, before_user, *start_parameters),
                        (grad[rows], grad_user[rows]),
                    )
                    grad[rows], grad_user[rows] = pieces[0], pieces[1]
                    for total, piece in zip(start_grads, pieces[2:], strict=True):
                        total.add_(piece)
            if t % ctx.bptt == 0:  # the border of truncated back-propagation
                grad_state.zero_()
                if grad_user is not None:
                    grad_user.zero_()
            end = begin
        flat = grad_hidden_gates.view(n_rows, 3 * h)
        grad_recurrent = previous.t() @ flat
        grad_bias = flat[:, 2 * h :].sum(0)
        grad_gates = grad_gates.view(n_rows, 3 * h)
        grad_user_weight = None if user_weight is None else grad_gates.t() @ ctx.users_in
        return (
            grad_gates,
            None,
            None,
            grad_recurrent,
            grad_bias,
            grad_user_weight,
            None,
            None,
            None,
            None,
            *start_grads,
        )

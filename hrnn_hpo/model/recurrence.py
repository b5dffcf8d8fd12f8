"""Gated recurrences over packed sequences, forward and backward written out, with state surgery at session starts.

A packed batch holds B users sorted by descending length and T steps: step t keeps the first `step_sizes[t]` users,
so N = sum(step_sizes) rows carry no padding. The loop does the work that must be sequential and nothing else; every
product that can wait is one large product after it. Blocks and embeddings are hrnn's business.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hrnn_hpo.model.accelerator import calls_torch_gru, gru_by_windows


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

        `session_starts` is not read: this recurrence learns from the control signal what a new session means. Where
        PyTorch's own GRU is the faster one, it is called.
        """
        if calls_torch_gru(x.device):
            return gru_by_windows(x, state, step_sizes, bptt, self.torch_weights())
        gates = self.input(x).to(state.dtype)  # (N, 3H)
        outputs, final, _ = _scan(
            gates, state, None, self.recurrent, self.candidate_bias, None, step_sizes, [None] * len(step_sizes), bptt
        )
        return outputs, final

    def torch_weights(self) -> list[Tensor]:
        """Return the weights in the shapes and the order of nn.GRU, which has a second bias at every gate."""
        no_bias = self.candidate_bias.new_zeros(2 * self.hidden_dimension)
        return [self.input.weight, self.recurrent.t(), self.input.bias, torch.cat([no_bias, self.candidate_bias])]


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

    def forward(
        self, x: Tensor, state: Tensor, step_sizes: Sequence[int], session_starts: Sequence[Tensor | None], bptt: int
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (N, H) and final states (B, 2H) of packed inputs (N, H) from states (B, 2H).

        `session_starts[t]` holds the users, as rows of step t, whose step t opens a session; None where nobody does.
        """
        gates = self.input(x).to(state.dtype)  # (N, 3H)
        hidden, user = state.chunk(2, dim=1)
        outputs, final, final_user = _scan(
            gates,
            hidden,
            user,
            self.recurrent,
            self.candidate_bias,
            None if self.user_input is None else self.user_input.weight,
            step_sizes,
            session_starts,
            bptt,
            self.user.weight_ih,
            self.user.weight_hh,
            self.user.bias_ih,
            self.user.bias_hh,
            self.start.weight,
            self.start.bias,
        )
        assert final_user is not None
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


class _Slopes(NamedTuple):
    """What each gate's gradient is to the gradient of its step's output, for all rows at once.

    The backward loop then multiplies, and computes no more than it must in sequence.
    """

    update_and_candidate: Tensor  # (N, 2, H)
    reset: Tensor  # (N, H), to the gradient of the candidate


def _gru_slopes(reset: Tensor, update: Tensor, hidden_part: Tensor, candidate: Tensor, previous: Tensor) -> _Slopes:
    """Return the slopes of h' = (1 - z) n + z h, n = tanh(x + r m), before the gates' own functions; all (N, H)."""
    slopes = candidate.new_empty(len(candidate), 2, candidate.shape[1])
    scratch = torch.addcmul(update, update, update, value=-1)  # z (1 - z)
    torch.sub(previous, candidate, out=slopes[:, 0]).mul_(scratch)
    torch.addcmul(candidate.new_ones(1), candidate, candidate, value=-1, out=scratch)  # 1 - n^2
    torch.addcmul(scratch, scratch, update, value=-1, out=slopes[:, 1])
    return _Slopes(slopes, torch.addcmul(reset, reset, reset, value=-1).mul_(hidden_part))


def _gate_gradients(grad: Tensor, slopes: _Slopes, reset: Tensor, at_gates: Tensor, at_hidden: Tensor) -> None:
    """Fill the gradients of r, z, n at the input's side, and of r, z, n r at the recurrent side; both (k, 3, H)."""
    torch.mul(grad.unsqueeze(1), slopes.update_and_candidate, out=at_gates[:, 1:])
    torch.mul(at_gates[:, 2], slopes.reset, out=at_gates[:, 0])
    at_hidden[:, :2] = at_gates[:, :2]
    torch.mul(at_gates[:, 2], reset, out=at_hidden[:, 2])


class _SessionStarts:
    """The user level at session starts: u' = GRU(last session state, u), and tanh(W u' + b) starts the session.

    Only the few rows of a step that open a session pass through. What the backward pass needs is kept side by side
    for all K starts of the window, so that the parameters' gradients are a few large products at its end.
    """

    def __init__(self, parameters: Sequence[Tensor], n_starts: int) -> None:
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, self.weight, self.bias = parameters
        h = self.weight.shape[0]
        self.n_done = 0
        self.sessions, self.users, self.candidates, self.new_users, self.starts = (
            self.weight.new_empty(n_starts, h) for _ in range(5)
        )
        self.acts = self.weight.new_empty(n_starts, 3, h)  # r, z, hidden part of n

    def forward(self, session: Tensor, user: Tensor) -> tuple[Tensor, Tensor]:
        """Return first session states and new user states, both (k, H), of k users who start a session."""
        size, h = session.shape
        rows = slice(self.n_done, self.n_done + size)
        self.n_done += size
        self.sessions[rows], self.users[rows] = session, user
        act = self.acts[rows]
        x = torch.addmm(self.bias_ih, session, self.weight_ih.t())  # (k, 3H)
        torch.addmm(self.bias_hh, user, self.weight_hh.t(), out=act.view(size, 3 * h))
        act[:, :2].add_(x[:, : 2 * h].view(size, 2, h)).sigmoid_()
        candidate = torch.addcmul(x[:, 2 * h :], act[:, 0], act[:, 2], out=self.candidates[rows]).tanh_()
        new_user = torch.lerp(candidate, user, act[:, 1], out=self.new_users[rows])
        start = torch.addmm(self.bias, new_user, self.weight.t(), out=self.starts[rows]).tanh_()
        return start, new_user

    def begin_backward(self) -> None:
        """Prepare the slopes of all starts; `backward` is then called for the steps in reverse."""
        reset, update, hidden_part = self.acts.unbind(1)
        self.slopes = _gru_slopes(reset, update, hidden_part, self.candidates, self.users)
        self.start_slopes = 1.0 - self.starts.square()
        self.grad_starts = torch.empty_like(self.starts)
        self.grad_gates, self.grad_hidden_gates = torch.empty_like(self.acts), torch.empty_like(self.acts)

    def backward(self, grad_start: Tensor, grad_user: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the session and user states before the start from those after it, all (k, H)."""
        size, h = grad_start.shape
        self.n_done -= size
        rows = slice(self.n_done, self.n_done + size)
        at_start, at_gates, at_hidden = self.grad_starts[rows], self.grad_gates[rows], self.grad_hidden_gates[rows]
        torch.mul(grad_start, self.start_slopes[rows], out=at_start)
        grad = torch.addmm(grad_user, at_start, self.weight)
        slopes = _Slopes(self.slopes.update_and_candidate[rows], self.slopes.reset[rows])
        _gate_gradients(grad, slopes, self.acts[rows, 0], at_gates, at_hidden)
        grad.mul_(self.acts[rows, 1]).addmm_(at_hidden.view(size, 3 * h), self.weight_hh)
        return at_gates.view(size, 3 * h) @ self.weight_ih, grad

    def parameter_gradients(self) -> list[Tensor]:
        """Return the gradients of the parameters, in the order in which they were given."""
        at_gates, at_hidden = self.grad_gates.flatten(1), self.grad_hidden_gates.flatten(1)  # (K, 3H)
        return [
            at_gates.t() @ self.sessions,
            at_hidden.t() @ self.users,
            at_gates.sum(0),
            at_hidden.sum(0),
            self.grad_starts.t() @ self.new_users,
            self.grad_starts.sum(0),
        ]


def _scan(gates: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run _Scan in the precision of the states: its products are small, and its errors would add up over the steps."""
    with torch.autocast(gates.device.type, enabled=False):
        result: tuple[Tensor, Tensor, Tensor | None] = _Scan.apply(gates, *arguments)  # type: ignore[no-untyped-call]
    return result


class _Scan(torch.autograd.Function):
    """The GRU h' = (1 - z) n + z h, r and z and n in this order, reset gate after the product (as in cuDNN).

    The gradient of the states is cut every `bptt` steps.
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
        session_starts: Sequence[Tensor | None],
        bptt: int,
        *start_parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        n_rows, width = gates.shape
        h = width // 3
        sizes = list(step_sizes)
        gates = gates.view(n_rows, 3, h)
        # r, z, hidden part of n; (N, 3, H). What does not depend on the state is there before the loop.
        acts = gates.clone()
        acts[:, 2] = candidate_bias
        candidates = gates[:, 2].clone()
        previous = candidates.new_empty(n_rows, h)
        outputs = candidates.new_empty(n_rows, h)
        final = hidden.clone()
        starts = users_in = user_gates = None
        if user is not None:
            user = user.clone()
            starts = _SessionStarts(start_parameters, sum(len(rows) for rows in session_starts if rows is not None))
            if user_weight is not None:
                user_gates = user @ user_weight.t()  # (B, 3H)
                users_in = candidates.new_empty(n_rows, h)
        last, end = hidden, 0
        for size, following, rows, h_in, act, candidate, out in zip(
            sizes,
            [*sizes[1:], 0],
            session_starts,
            torch.split(previous, sizes),
            torch.split(acts, sizes),
            torch.split(candidates, sizes),
            torch.split(outputs, sizes),
            strict=True,
        ):
            begin, end = end, end + size
            h_in.copy_(last[:size])
            if user is not None and starts is not None:
                if rows is not None:
                    h_in[rows], user[rows] = starts.forward(h_in[rows], user[rows])
                    if user_gates is not None and user_weight is not None:
                        user_gates[rows] = user[rows] @ user_weight.t()
                if user_gates is not None and users_in is not None:
                    act[:, :2] += user_gates[:size, : 2 * h].view(size, 2, h)
                    candidate += user_gates[:size, 2 * h :]
                    users_in[begin:end] = user[:size]
            act.view(size, width).addmm_(h_in, recurrent)
            act[:, :2].sigmoid_()
            candidate.addcmul_(act[:, 0], act[:, 2]).tanh_()
            last = torch.lerp(candidate, h_in, act[:, 1], out=out)
            if following < size:
                final[following:size] = last[following:]
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(acts, candidates, previous, recurrent, user_weight)
            ctx.starts, ctx.session_starts, ctx.users_in = starts, session_starts, users_in
            ctx.step_sizes, ctx.bptt = sizes, bptt
        ctx.mark_non_differentiable(*([final] if user is None else [final, user]))  # states go on without gradient
        return outputs, final, user

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_outputs = grads[0]
        acts, candidates, previous, recurrent, user_weight = ctx.saved_tensors
        n_rows, _, h = acts.shape
        reset, update, hidden_part = acts.unbind(1)
        slopes = _gru_slopes(reset, update, hidden_part, candidates, previous)
        grad_gates = acts.new_empty(n_rows, 3, h)  # at the input's side: r, z, n
        grad_hidden_gates = acts.new_empty(n_rows, 3, h)  # at the recurrent side: r, z, n * r
        transposed = recurrent.t().contiguous()
        sizes, starts = ctx.step_sizes, ctx.starts
        grad_state = acts.new_zeros(sizes[0], h)
        grad_user = None if starts is None else acts.new_zeros(sizes[0], h)
        if starts is not None:
            starts.begin_backward()
        by_step = (grad_outputs, *slopes, reset, update, grad_gates, grad_hidden_gates)
        steps = zip(
            range(len(sizes)), sizes, ctx.session_starts, *(torch.split(x, sizes) for x in by_step), strict=True
        )
        for t, size, rows, grad_output, gate_slope, reset_slope, r, z, at_gates, at_hidden in reversed(list(steps)):
            grad = grad_state[:size]
            grad.add_(grad_output)
            _gate_gradients(grad, _Slopes(gate_slope, reset_slope), r, at_gates, at_hidden)
            grad.mul_(z).addmm_(at_hidden.view(size, 3 * h), transposed)
            if grad_user is not None:
                if user_weight is not None:
                    grad_user[:size].addmm_(at_gates.view(size, 3 * h), user_weight)
                if rows is not None:
                    grad[rows], grad_user[rows] = starts.backward(grad[rows], grad_user[rows])
            if t % ctx.bptt == 0:  # the border of truncated back-propagation
                grad_state.zero_()
                if grad_user is not None:
                    grad_user.zero_()
        at_hidden, at_gates = grad_hidden_gates.view(n_rows, 3 * h), grad_gates.view(n_rows, 3 * h)
        return (
            at_gates,
            None,
            None,
            previous.t() @ at_hidden,
            at_hidden[:, 2 * h :].sum(0),
            None if user_weight is None else at_gates.t() @ ctx.users_in,
            None,
            None,
            None,
            *([] if starts is None else starts.parameter_gradients()),
        )

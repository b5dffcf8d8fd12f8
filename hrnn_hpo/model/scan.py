"""The written-out GRU over packed sequences, forward and backward, with a user level that starts sessions.

The loop does the work that must be sequential and nothing else; every product that can wait is one large product after
it. Parameters and what they start at are recurrence's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


def scan(
    gates: Tensor,
    hidden: Tensor,
    user: Tensor | None,
    recurrent: Tensor,
    candidate_bias: Tensor,
    user_weight: Tensor | None,
    step_sizes: Sequence[int],
    session_starts: Sequence[Tensor | None],
    bptt: int,
    users_wanted: bool,
    *start_parameters: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return outputs (N, H), final states (B, H), final user states (B, H) and those of each step (N, H).

    `gates` (N, 3H) are the inputs' part of r, z and n, `hidden` and `user` the states before, (B, H). The last two
    results are None without a user level, and the last where no `users_wanted`. All is computed in the precision of
    the states: the products are small, and their errors would add up over the steps.
    """
    with torch.autocast(gates.device.type, enabled=False):
        result: tuple[Tensor, Tensor, Tensor | None, Tensor | None] = _Scan.apply(  # type: ignore[no-untyped-call]
            gates,
            hidden,
            user,
            recurrent,
            candidate_bias,
            user_weight,
            step_sizes,
            session_starts,
            bptt,
            users_wanted,
            *start_parameters,
        )
    return result


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
        users_wanted: bool,
        *start_parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
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
            if user_weight is not None or users_wanted:
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
                if user_gates is not None:
                    act[:, :2] += user_gates[:size, : 2 * h].view(size, 2, h)
                    candidate += user_gates[:size, 2 * h :]
                if users_in is not None:
                    users_in[begin:end] = user[:size]
            act.view(size, width).addmm_(h_in, recurrent)
            act[:, :2].sigmoid_()
            candidate.addcmul_(act[:, 0], act[:, 2]).tanh_()
            last = torch.lerp(candidate, h_in, act[:, 1], out=out)
            if following < size:
                final[following:size] = last[following:]
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(acts, candidates, previous, recurrent, user_weight)
            ctx.starts, ctx.session_starts = starts, session_starts
            # Detached: an output that is kept as such would never be freed.
            ctx.users_in = None if users_in is None else users_in.detach()
            ctx.step_sizes, ctx.bptt = sizes, bptt
        ctx.mark_non_differentiable(*([final] if user is None else [final, user]))  # states go on without gradient
        return outputs, final, user, users_in if users_wanted else None

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_outputs, _, _, grad_users = grads
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
        at_users = [None] * len(sizes) if grad_users is None else torch.split(grad_users, sizes)
        steps = zip(
            range(len(sizes)),
            sizes,
            ctx.session_starts,
            at_users,
            *(torch.split(x, sizes) for x in by_step),
            strict=True,
        )
        for t, size, rows, at_user, grad_output, gate_slope, reset_slope, r, z, at_gates, at_hidden in reversed(
            list(steps)
        ):
            grad = grad_state[:size]
            grad.add_(grad_output)
            _gate_gradients(grad, _Slopes(gate_slope, reset_slope), r, at_gates, at_hidden)
            grad.mul_(z).addmm_(at_hidden.view(size, 3 * h), transposed)
            if grad_user is not None:
                if at_user is not None:
                    grad_user[:size] += at_user
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
            None,
            *([] if starts is None else starts.parameter_gradients()),
        )

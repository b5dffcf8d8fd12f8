"""The two recurrences over packed sequences: one GRU, or a session GRU that a user GRU starts.

A packed batch holds B users sorted by descending length and T steps: step t keeps the first `step_sizes[t]` users,
so N = sum(step_sizes) rows carry no padding. The loop over the steps is scan's, blocks and embeddings are hrnn's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hrnn_hpo.model.accelerator import calls_torch_gru, gru_by_windows
from hrnn_hpo.model.scan import scan


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
        outputs, final, _, _ = scan(
            gates,
            state,
            None,
            self.recurrent,
            self.candidate_bias,
            None,
            step_sizes,
            [None] * len(step_sizes),
            bptt,
            False,
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
        outputs, final, _ = self.with_users(x, state, step_sizes, session_starts, bptt, False)
        return outputs, final

    def with_users(
        self,
        x: Tensor,
        state: Tensor,
        step_sizes: Sequence[int],
        session_starts: Sequence[Tensor | None],
        bptt: int,
        wanted: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what `forward` does, and the user state at each step, (N, H), where it is `wanted`."""
        gates = self.input(x).to(state.dtype)  # (N, 3H)
        hidden, user = state.chunk(2, dim=1)
        outputs, final, final_user, users = scan(
            gates,
            hidden,
            user,
            self.recurrent,
            self.candidate_bias,
            None if self.user_input is None else self.user_input.weight,
            step_sizes,
            session_starts,
            bptt,
            wanted,
            self.user.weight_ih,
            self.user.weight_hh,
            self.user.bias_ih,
            self.user.bias_hh,
            self.start.weight,
            self.start.bias,
        )
        assert final_user is not None
        return outputs, torch.cat([final, final_user], dim=1), users

    def opened(self, sessions: Tensor, users: Tensor) -> Tensor:
        """Return the first states (K, H) of sessions opened after states of sessions and users, (K, H) each."""
        with torch.autocast(sessions.device.type, enabled=False):  # in the precision of the states, like the recurrence
            return torch.tanh(self.start(self.user(sessions, users)))


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

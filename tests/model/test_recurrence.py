"""The written-out recurrences against a literal loop under autograd, and against torch.nn.GRU."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from hrnn_hpo.model.recurrence import ControlGRU, HierarchicalGRU

H = 5
NEVER = 10_000  # a bptt longer than any history
VARIANTS = ["control", "init", "all"]

Recurrence = ControlGRU | HierarchicalGRU
Starts = Sequence[Tensor | None]


def recurrence(variant: str, seed: int = 0) -> Recurrence:
    made: Recurrence = ControlGRU(H) if variant == "control" else HierarchicalGRU(H, variant)
    made.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return made


def state_width(model: Recurrence) -> int:
    return H if isinstance(model, ControlGRU) else 2 * H


def literal(
    model: Recurrence, x: Tensor, state: Tensor, step_sizes: Sequence[int], starts: Starts, bptt: int
) -> tuple[Tensor, Tensor]:
    """The recurrence one user and one step at a time, exactly as the papers write it."""
    hidden, user = list(state[:, :H]), list(state[:, H:])
    outputs, row = [], 0
    for t, size in enumerate(step_sizes):
        for b in range(size):
            h = hidden[b].detach() if t % bptt == 0 else hidden[b]
            gates = model.input(x[row])
            if isinstance(model, HierarchicalGRU):
                u = user[b].detach() if t % bptt == 0 else user[b]
                opening = starts[t]
                if opening is not None and b in opening.tolist():
                    u = model.user(h[None], u[None])[0]
                    h = torch.tanh(model.start(u))
                if model.user_input is not None:
                    gates = gates + model.user_input(u)
                user[b] = u
            recurrent = h @ model.recurrent
            reset = torch.sigmoid(gates[:H] + recurrent[:H])
            update = torch.sigmoid(gates[H : 2 * H] + recurrent[H : 2 * H])
            candidate = torch.tanh(gates[2 * H :] + reset * (recurrent[2 * H :] + model.candidate_bias))
            hidden[b] = (1 - update) * candidate + update * h
            outputs.append(hidden[b])
            row += 1
    final = torch.stack(hidden)
    return torch.stack(outputs), final if isinstance(model, ControlGRU) else torch.cat([final, torch.stack(user)], 1)


def check_against_literal(model: Recurrence, step_sizes: Sequence[int], starts: Starts, bptt: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_rows, n_users = sum(step_sizes), step_sizes[0]
    x = torch.randn(n_rows, H, dtype=torch.double, generator=generator, requires_grad=True)
    state = torch.randn(n_users, state_width(model), dtype=torch.double, generator=generator)
    direction = torch.randn(n_rows, H, dtype=torch.double, generator=generator)

    outputs, final = model(x, state, step_sizes, starts, bptt)
    expected, expected_final = literal(model, x, state, step_sizes, starts, bptt)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(final, expected_final.detach(), rtol=0, atol=1e-12)

    wanted = [x, *model.parameters()]
    found = torch.autograd.grad((outputs * direction).sum(), wanted)
    literally = torch.autograd.grad((expected * direction).sum(), wanted, allow_unused=True)
    for ours, theirs in zip(found, literally, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bptt", [2, 3, NEVER])
def test_ragged_users_with_sessions_equal_a_literal_loop_forward_and_backward(variant: str, bptt: int) -> None:
    step_sizes = [5, 5, 4, 4, 2, 1]
    starts = [None, torch.tensor([1, 3]), None, torch.tensor([0]), torch.tensor([0, 1]), None]
    check_against_literal(recurrence(variant), step_sizes, starts, bptt, seed=1)


@st.composite
def packed_batches(draw: DrawFn) -> tuple[list[int], list[Tensor | None]]:
    """Draw the step sizes of some users and who opens a session at which step."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    step_sizes = [sum(length > t for length in lengths) for t in range(max(lengths))]
    starts: list[Tensor | None] = []
    for size in step_sizes:
        opening = sorted(draw(st.sets(st.integers(0, size - 1))))
        starts.append(torch.tensor(opening) if opening else None)
    return step_sizes, starts


@settings(max_examples=30)
@given(
    batch=packed_batches(),
    variant=st.sampled_from(VARIANTS),
    bptt=st.integers(2, 10),
    seed=st.integers(0, 2**31),
)
def test_any_packed_batch_equals_a_literal_loop(
    batch: tuple[list[int], list[Tensor | None]], variant: str, bptt: int, seed: int
) -> None:
    check_against_literal(recurrence(variant, seed), *batch, bptt, seed)


def torch_gru(model: ControlGRU) -> nn.GRU:
    gru = nn.GRU(H, H).double()
    with torch.no_grad():
        gru.weight_ih_l0.copy_(model.input.weight)
        gru.bias_ih_l0.copy_(model.input.bias)
        gru.weight_hh_l0.copy_(model.recurrent.t())
        gru.bias_hh_l0.zero_()
        gru.bias_hh_l0[2 * H :].copy_(model.candidate_bias)
    return gru


def test_the_control_recurrence_is_torchs_gru() -> None:
    model = recurrence("control")
    assert isinstance(model, ControlGRU)
    gru = torch_gru(model)
    lengths = [6, 4, 4, 1]
    padded = torch.randn(6, 4, H, dtype=torch.double)
    packed = pack_padded_sequence(padded, torch.tensor(lengths))
    start = torch.randn(4, H, dtype=torch.double)
    x = packed.data.clone().requires_grad_()
    theirs, their_final = gru(packed._replace(data=x), start[None])
    outputs, final = model(x, start, packed.batch_sizes.tolist(), [], NEVER)
    torch.testing.assert_close(outputs, theirs.data)
    torch.testing.assert_close(final, their_final[0].detach())

    found = torch.autograd.grad(outputs.square().sum(), [x, model.input.weight, model.recurrent, model.candidate_bias])
    expected = torch.autograd.grad(theirs.data.square().sum(), [x, gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_hh_l0])
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])
    torch.testing.assert_close(found[2], expected[2].t())
    torch.testing.assert_close(found[3], expected[3][2 * H :])


def test_without_session_starts_the_hierarchical_recurrence_is_a_gru_too() -> None:
    model = recurrence("init")
    plain = ControlGRU(H).double()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name in plain.state_dict()})
    x, state = torch.randn(6, H, dtype=torch.double), torch.randn(2, 2 * H, dtype=torch.double)
    outputs, final = model(x, state, [2, 2, 2], [None] * 3, NEVER)
    expected, expected_final = plain(x, state[:, :H], [2, 2, 2], [], NEVER)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(final, torch.cat([expected_final, state[:, H:]], dim=1))


def test_a_new_session_starts_at_the_user_state_alone() -> None:
    model = recurrence("init")
    assert isinstance(model, HierarchicalGRU)
    x, state = torch.randn(1, H, dtype=torch.double), torch.randn(1, 2 * H, dtype=torch.double)
    outputs, final = model(x, state, [1], [torch.tensor([0])], NEVER)
    user = model.user(state[:, :H], state[:, H:])
    first = torch.tanh(model.start(user))
    expected, _ = model(x, torch.cat([first, user], dim=1), [1], [None], NEVER)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(final[:, H:], user)


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_chunks_give_the_states_of_the_whole(variant: str) -> None:
    model = recurrence(variant)
    step_sizes = [3, 3, 3, 3, 3]
    starts = [None, torch.tensor([2]), torch.tensor([0, 1]), torch.tensor([1]), None]
    x, state = torch.randn(15, H, dtype=torch.double), torch.randn(3, state_width(model), dtype=torch.double)
    whole, final = model(x, state, step_sizes, starts, NEVER)
    first, between = model(x[:6], state, step_sizes[:2], starts[:2], NEVER)
    second, last = model(x[6:], between, step_sizes[2:], starts[2:], NEVER)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, final)


@pytest.mark.parametrize("variant", VARIANTS)
def test_final_states_go_on_without_gradient_and_the_given_state_stays_as_it_was(variant: str) -> None:
    model = recurrence(variant)
    state = torch.randn(2, state_width(model), dtype=torch.double)
    before = state.clone()
    x = torch.randn(4, H, dtype=torch.double, requires_grad=True)
    outputs, final = model(x, state, [2, 2], [torch.tensor([0]), torch.tensor([1])], NEVER)
    assert outputs.requires_grad
    assert not final.requires_grad
    assert torch.equal(state, before)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bptt", [2, 3])
def test_the_gradient_ends_at_the_border_of_bptt(variant: str, bptt: int) -> None:
    model = recurrence(variant)
    x = torch.randn(7, H, dtype=torch.double, requires_grad=True)
    state = torch.zeros(1, state_width(model), dtype=torch.double)
    outputs, _ = model(x, state, [1] * 7, [None, torch.tensor([0])] * 3 + [None], bptt)
    (gradient,) = torch.autograd.grad(outputs[5].sum(), x)
    first_reached = 5 - 5 % bptt
    reached = gradient.abs().sum(dim=1) > 0
    assert reached.tolist() == [first_reached <= t <= 5 for t in range(7)]


@pytest.mark.parametrize("variant", ["init", "all"])
def test_the_user_states_of_every_step_are_those_of_the_loop_and_carry_gradients(variant: str) -> None:
    """Users of 3, 2 and 2 steps; two of them open a session at step 1, one at step 2."""
    model = recurrence(variant)
    assert isinstance(model, HierarchicalGRU)
    sizes, starts = [3, 3, 1], [None, torch.tensor([0, 2]), torch.tensor([0])]
    x = torch.randn(7, H, dtype=torch.double, requires_grad=True)
    state = torch.randn(3, 2 * H, dtype=torch.double)
    outputs, final, users = model.with_users(x, state, sizes, starts, NEVER)
    assert users is not None
    plain, plain_final = model(x, state, sizes, starts, NEVER)
    assert torch.equal(outputs, plain)
    assert torch.equal(final, plain_final)

    # The user state changes at session starts alone, from the outputs before them, which carry their gradients.
    first = state[:, H:]
    second = first.clone()
    second[[0, 2]] = model.user(plain[[0, 2]], first[[0, 2]])
    third = model.user(plain[3:4], second[:1])
    expected = torch.cat([first, second, third])
    torch.testing.assert_close(users, expected, rtol=0, atol=1e-12)
    direction = torch.randn_like(users)
    wanted = [x, *model.parameters()]
    found = torch.autograd.grad((users * direction).sum(), wanted, allow_unused=True)
    literally = torch.autograd.grad((expected * direction).sum(), wanted, allow_unused=True)
    for ours, theirs in zip(found, literally, strict=True):
        zero = torch.zeros(1, dtype=torch.double)
        torch.testing.assert_close(
            *torch.broadcast_tensors(zero if ours is None else ours, zero if theirs is None else theirs)
        )

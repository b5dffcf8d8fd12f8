"""What a GPU is given, tested on a CPU: PyTorch's GRU by windows of bptt is the loop that is written out."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import inputs_of, model_for, rows_of
from strategies import dataset_of
from torch import Tensor

from hrnn_hpo.model import accelerator, losses, recurrence
from hrnn_hpo.model.accelerator import block_elements, calls_torch_gru, gru_by_windows, send
from hrnn_hpo.model.inputs import pack
from hrnn_hpo.model.recurrence import ControlGRU

H = 5
NEVER = 10_000  # a bptt longer than any history
CPU = torch.device("cpu")


def control_gru(seed: int, dtype: torch.dtype) -> ControlGRU:
    made = ControlGRU(H).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return made


def check_both_paths(
    windows: Sequence[Sequence[int]], bptt: int, seed: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Run windows of packed steps, each from the states that the one before left, by both paths."""
    model = control_gru(seed, dtype)
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(max(sizes[0] for sizes in windows), H, dtype=dtype, generator=generator)
    theirs = state
    for step_sizes in windows:
        n_rows, n_users = sum(step_sizes), step_sizes[0]
        x = torch.randn(n_rows, H, dtype=dtype, generator=generator, requires_grad=True)
        direction = torch.randn(n_rows, H, dtype=dtype, generator=generator)
        outputs, final = model(x, state[:n_users], step_sizes, [], bptt)
        found, their_final = gru_by_windows(x, theirs[:n_users], step_sizes, bptt, model.torch_weights())
        torch.testing.assert_close(found, outputs, rtol=0, atol=tolerance)
        torch.testing.assert_close(their_final, final, rtol=0, atol=tolerance)
        assert not their_final.requires_grad
        wanted = [x, *model.parameters()]
        expected = torch.autograd.grad((outputs * direction).sum(), wanted)
        gradients = torch.autograd.grad((found * direction).sum(), wanted)
        for ours, loop in zip(gradients, expected, strict=True):
            torch.testing.assert_close(ours, loop, rtol=tolerance, atol=10 * tolerance)
        state, theirs = torch.cat([final, state[n_users:]]), torch.cat([their_final, theirs[n_users:]])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.double, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("bptt", [1, 2, 3, 5, NEVER])
def test_torchs_gru_by_windows_gives_the_states_and_gradients_of_the_loop(
    bptt: int, dtype: torch.dtype, tolerance: float
) -> None:
    windows = [[5, 5, 4, 4, 2, 1], [4, 4, 4, 4], [3, 1, 1, 1, 1], [5]]
    check_both_paths(windows, bptt, seed=1, dtype=dtype, tolerance=tolerance)


@st.composite
def step_sizes(draw: st.DrawFn) -> list[int]:
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    return [sum(length > t for length in lengths) for t in range(max(lengths))]


@settings(max_examples=30)
@given(windows=st.lists(step_sizes(), min_size=1, max_size=3), bptt=st.integers(1, 10), seed=st.integers(0, 2**31))
def test_any_windows_give_the_same_by_both_paths(windows: list[list[int]], bptt: int, seed: int) -> None:
    check_both_paths(windows, bptt, seed, torch.double, 1e-11)


def test_a_call_is_made_for_each_bptt_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[int]] = []
    torchs = torch.gru

    def counted(x: Tensor, sizes: Tensor, *rest: object, **named: object) -> tuple[Tensor, Tensor]:
        calls.append(sizes.tolist())
        return torchs(x, sizes, *rest, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch, "gru", counted)
    model = control_gru(0, torch.double)
    x, state = torch.randn(12, H, dtype=torch.double), torch.zeros(3, H, dtype=torch.double)
    gru_by_windows(x, state, [3, 3, 2, 2, 2], 2, model.torch_weights())
    assert calls == [[3, 3], [2, 2], [2]]


def test_the_weights_lie_in_one_piece_in_cudnns_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Tensor]] = []
    torchs = torch.gru

    def looked_at(x: Tensor, sizes: Tensor, hx: Tensor, weights: list[Tensor], **named: object) -> object:
        seen.append(weights)
        return torchs(x, sizes, hx, weights, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "gru", looked_at)
    model = control_gru(0, torch.float32)
    gru_by_windows(torch.randn(2, H), torch.zeros(1, H), [1, 1], NEVER, model.torch_weights())
    (weights,) = seen
    assert [tuple(weight.shape) for weight in weights] == [(3 * H, H), (3 * H, H), (3 * H,), (3 * H,)]
    places = [weight.storage_offset() for weight in weights]
    assert places == [0, 3 * H * H, 6 * H * H, 6 * H * H + 3 * H]
    assert all(weight.is_contiguous() for weight in weights)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_model_gives_the_same_loss_and_gradients_by_both_paths(
    dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_of([[0, 1, 2, 3, 1, 0, 2], [3, 2, 0], [1, 1, 2, 3, 0]])
    model = model_for(dataset, n_blocks=2, hidden_dropout=dropout, input_dropout=dropout).double().train()
    starts, lengths = rows_of(dataset, [0, 2, 1])
    packed, _ = pack(inputs_of(dataset), starts, lengths, CPU)
    found = []
    for by_torch in (False, True):
        monkeypatch.setattr(recurrence, "calls_torch_gru", lambda device, by_torch=by_torch: by_torch)
        torch.manual_seed(0)
        outputs, final = model(packed, model.start_state(3), bptt=2)
        gradients = torch.autograd.grad(outputs.square().sum(), list(model.parameters()), allow_unused=True)
        found.append([outputs, final, *(gradient for gradient in gradients if gradient is not None)])
    assert len(found[0]) > 10
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)


def test_a_model_that_evaluates_gives_the_same_by_both_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of([[0, 1, 2, 3, 1], [3, 2]])
    model = model_for(dataset)
    packed, _ = pack(inputs_of(dataset), *rows_of(dataset, [0, 1]), CPU)
    with torch.no_grad():
        expected = model(packed, model.start_state(2))
        monkeypatch.setattr(recurrence, "calls_torch_gru", lambda device: True)
        torch.testing.assert_close(model(packed, model.start_state(2)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("device", "by_torch"), [("cpu", False), ("cuda", True), ("mps", False)])
def test_the_device_chooses_the_path(device: str, by_torch: bool) -> None:
    assert calls_torch_gru(torch.device(device)) == by_torch


def test_what_is_sent_arrives_as_it_is() -> None:
    sent = send(np.array([1, 2], dtype=np.uint8), CPU, torch.int64)
    assert sent.tolist() == [1, 2]
    assert sent.dtype == torch.int64
    assert send(np.array([0.5], dtype=np.float32), CPU).dtype == torch.float32


def test_blocks_of_logits_take_a_sixteenth_of_a_gpus_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 GiB / 16 / 4 bytes = 2^28 logits: 2^18 rows of 1,024 items, and one row at least."""

    class Properties:
        total_memory = 16 * 1024**3

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    gpu = torch.device("cuda")
    assert block_elements(gpu) == 2**28
    assert losses._block_rows(1024, gpu) == 2**18
    assert losses._block_rows(2**29, gpu) == 1
    assert block_elements(CPU) is None
    assert losses._block_rows(1024, CPU) == 300_000 // 1024


def test_what_a_gpu_is_sent_starts_in_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[torch.device, bool]] = []

    def to(self: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        assert pinned == [id(self)]
        sent.append((device, non_blocking))
        return self

    pinned: list[int] = []

    def pin(self: Tensor) -> Tensor:
        pinned.append(id(self))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    accelerator.send(np.array([1]), torch.device("cuda"))
    assert sent == [(torch.device("cuda"), True)]

"""What a GPU wants and a CPU does not: arrays sent without waiting for it, PyTorch's own GRU, large blocks of logits.

A GPU works through a queue. Whoever reads a value from it waits until the queue is empty, so training reads one number
an epoch. No figure of speed stands behind these choices: they were tested on CPUs alone.
"""

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_SHARE = 16  # a block of logits takes at most one part in so many of the device's memory
BYTES_PER_LOGIT = 4


def send(values: NDArray, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:  # type: ignore[type-arg]
    """Return an array as a tensor on a device, as `dtype` where one is given.

    The way to a GPU starts in page-locked memory: from any other a copy waits for all work that is in the queue.
    """
    tensor = torch.from_numpy(values)
    if dtype is not None:
        tensor = tensor.to(dtype)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def calls_torch_gru(device: torch.device) -> bool:
    """Return whether the control recurrence is PyTorch's own there: on CUDA a call is one kernel for many steps.

    On a CPU the loop that is written out is as fast, and on Apple's MPS PyTorch's GRU takes no packed sequences.
    """
    return device.type == "cuda"


def gru_by_windows(
    x: Tensor, state: Tensor, step_sizes: Sequence[int], bptt: int, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return outputs (N, H) and final states (B, H) of PyTorch's GRU over packed inputs (N, H) from states (B, H).

    It is called once for each `bptt` steps, from a state without gradient. `weights` are nn.GRU's: (3H, H) of the
    inputs and of the states, then the two biases (3H,). All is computed in the precision of the states.
    """
    # One piece of memory in cuDNN's order: weights that lie apart are put together at every call, with a warning.
    flat = torch.cat([weight.reshape(-1) for weight in weights])
    pieces = [
        piece.view(weight.shape)
        for piece, weight in zip(torch.split(flat, [weight.numel() for weight in weights]), weights, strict=True)
    ]
    outputs, final, begin = [], state, 0
    with torch.autocast(x.device.type, enabled=False):
        for first_step in range(0, len(step_sizes), bptt):
            sizes = step_sizes[first_step : first_step + bptt]
            end, n_users = begin + sum(sizes), sizes[0]
            output, last = torch.gru(
                x[begin:end].to(state.dtype),
                torch.tensor(sizes),  # on the CPU, as cuDNN wants it
                final[None, :n_users].contiguous(),
                pieces,
                has_biases=True,
                num_layers=1,
                dropout=0.0,
                train=torch.is_grad_enabled(),  # cuDNN goes back through training calls alone
                bidirectional=False,
            )
            outputs.append(output)
            final = torch.cat([last[0].detach(), final[n_users:]])  # who is done keeps the last state
            begin = end
    return torch.cat(outputs), final


def block_elements(device: torch.device) -> int | None:
    """Return how many logits a block of the loss may hold on a GPU, by the memory it has; None on a CPU."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory) // (BLOCK_SHARE * BYTES_PER_LOGIT)

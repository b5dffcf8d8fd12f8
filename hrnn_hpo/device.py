"""Where a model trains, and with how many threads: what is there, and a caller who finds things as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from hrnn_hpo.cores import use_threads
from hrnn_hpo.errors import ConfigError

Device = Literal["auto", "cpu", "cuda", "mps"]


def resolve_device(device: Device) -> torch.device:
    """Return the device to train on; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises ConfigError when the one asked for is not there, or is none.
    """
    if device not in get_args(Device):
        raise ConfigError(f"`device` must be one of {', '.join(get_args(Device))}, but got {device!r}.")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[device]:
        raise ConfigError(f"`--device {device}` wants such a device, but PyTorch finds none on this machine.")
    return torch.device(device)


@contextmanager
def undisturbed_caller(n_threads: int, device: torch.device) -> Iterator[None]:
    """Work with so many CPU threads inside, and leave number of threads and random state as they were outside."""
    before = torch.get_num_threads()
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    mps_state = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=devices):
        use_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)

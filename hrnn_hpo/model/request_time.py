"""How the time of a request enters: a scale and a shift of the readout, after the recurrence. No state knows it.

A request without a time leaves the readout as it is. Tables start at 0: an untrained model answers both alike.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hrnn_hpo.config import RequestTimeParts
from hrnn_hpo.data.featurize import N_CONTROL_SIGNALS, N_GAP_BUCKETS, NEW_SESSION
from hrnn_hpo.data.requests import N_HOURS, N_WEEKDAYS, RequestTimes
from hrnn_hpo.model.accelerator import send


@dataclass(frozen=True)
class Requests:
    """When N readouts are asked for, as tensors: the M that come with a time."""

    rows: Tensor  # (M,) int64, which of the N they are
    arrivals: Tensor  # (M,) int64, N_CONTROL_SIGNALS gap bucket + control signal
    clock: Tensor  # (M,) int64, N_HOURS weekday + hour
    opening: Tensor  # (K,) int64, the rows whose request opens a session


def pack_requests(requests: RequestTimes, device: torch.device, known: NDArray[np.bool_] | None = None) -> Requests:
    """Return requests as a model on `device` reads them; those outside `known` (N,) lose their time."""
    rows = np.flatnonzero(requests.known if known is None else requests.known & known)
    control = requests.control[rows]
    return Requests(
        rows=_on(device, rows),
        arrivals=_on(device, N_CONTROL_SIGNALS * requests.gap_buckets[rows] + control),
        clock=_on(device, requests.clock[rows]),
        opening=_on(device, rows[control == NEW_SESSION]),
    )


def parts_read(request_time: RequestTimeParts) -> frozenset[str]:
    """Return which of gap, session and clock the hyperparameter `request_time` lets a model read."""
    return frozenset(request_time.split("+")) - {"none"}


class RequestTime(nn.Module):
    """readout (1 + scale) + shift, both sums of what a table has for each part of the request's time that is read."""

    def __init__(self, hidden_dimension: int, parts: frozenset[str]) -> None:
        super().__init__()

        def table(n_rows: int, part: str) -> nn.Parameter | None:
            return nn.Parameter(torch.zeros(n_rows, 2 * hidden_dimension)) if part in parts else None

        self.gap = table(N_GAP_BUCKETS, "gap")
        self.session = table(N_CONTROL_SIGNALS, "session")
        self.hour = table(N_HOURS, "clock")
        self.weekday = table(N_WEEKDAYS, "clock")

    def forward(self, readouts: Tensor, requests: Requests) -> Tensor:
        """Return the readouts (N, H) as they are asked for at the requests' times, (N, H)."""
        found = []  # what each table has for the M requests: scales and shifts, (M, H) each
        for table, indices in (
            (_sums(self.gap, self.session, N_GAP_BUCKETS, N_CONTROL_SIGNALS), requests.arrivals),
            (_sums(self.weekday, self.hour, N_WEEKDAYS, N_HOURS), requests.clock),
        ):
            if table is not None:  # two look-ups of H: half of one of 2H has a gradient that is padded to 2H
                found.append([F.embedding(indices, half) for half in table.chunk(2, dim=1)])
        scale, shift = found[0] if len(found) == 1 else (one + other for one, other in zip(*found, strict=True))
        moved: Tensor = _Modulated.apply(readouts, requests.rows, scale, shift)  # type: ignore[no-untyped-call]
        return moved


class _Modulated(torch.autograd.Function):
    """Readouts (N, H) whose `rows` (M,) are scaled by 1 + scale (M, H) and shifted (M, H); the others cost a copy."""

    @staticmethod
    def forward(ctx: Any, readouts: Tensor, rows: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        asked = readouts.index_select(0, rows)
        ctx.save_for_backward(rows, asked, scale)
        return readouts.index_copy(0, rows, torch.addcmul(asked + shift, asked, scale))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        rows, asked, scale = ctx.saved_tensors
        of_asked = grad.index_select(0, rows)
        return grad.index_copy(0, rows, of_asked + of_asked * scale), None, of_asked * asked, of_asked


def _sums(rows: Tensor | None, columns: Tensor | None, n_rows: int, n_columns: int) -> Tensor | None:
    """Return a table of every row's and column's sum, row by row: a request looks up one row of it, not two."""
    if rows is not None and columns is not None:
        return (rows[:, None] + columns).flatten(0, 1)
    if rows is not None:
        return rows.repeat_interleave(n_columns, dim=0)
    return None if columns is None else columns.repeat(n_rows, 1)


def _on(device: torch.device, indices: NDArray[np.generic]) -> Tensor:
    return send(indices, device, torch.int64)

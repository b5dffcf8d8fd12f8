"""How the time of a request enters: a scale and a shift of the readout, after the recurrence. No state knows it.

A request without a time leaves the readout as it is. Tables start at 0: an untrained model answers both alike.
"""

from dataclasses import dataclass

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
    """When N readouts are asked for, as tensors; where a request has no time, each index is one past its table."""

    arrivals: Tensor  # (N,) int64, N_CONTROL_SIGNALS gap bucket + control signal
    clock: Tensor  # (N,) int64, N_HOURS weekday + hour
    opening: Tensor  # (K,) int64, the rows whose request opens a session


def pack_requests(requests: RequestTimes, device: torch.device, known: NDArray[np.bool_] | None = None) -> Requests:
    """Return requests as a model on `device` reads them; those outside `known` (N,) lose their time."""
    told = requests.known if known is None else requests.known & known
    arrivals = N_CONTROL_SIGNALS * requests.gap_buckets + requests.control
    return Requests(
        arrivals=_on(device, np.where(told, arrivals, N_CONTROL_SIGNALS * N_GAP_BUCKETS)),
        clock=_on(device, np.where(told, requests.clock, N_HOURS * N_WEEKDAYS)),
        opening=_on(device, np.flatnonzero(told & (requests.control == NEW_SESSION))),
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
        found = None
        arrivals = _sums(self.gap, self.session, N_GAP_BUCKETS, N_CONTROL_SIGNALS)
        if arrivals is not None:
            found = F.embedding(requests.arrivals, arrivals)  # (N, 2H)
        clock = _sums(self.weekday, self.hour, N_WEEKDAYS, N_HOURS)
        if clock is not None:
            of_clock = F.embedding(requests.clock, clock)
            found = of_clock if found is None else found + of_clock
        assert found is not None
        scale, shift = found.chunk(2, dim=1)
        return torch.addcmul(readouts + shift, readouts, scale)


def _sums(rows: Tensor | None, columns: Tensor | None, n_rows: int, n_columns: int) -> Tensor | None:
    """Return a table of every row's and column's sum, row by row, and last a row of zeros for unknown times.

    So each request looks up one row of it, in place of one row of either table.
    """
    if rows is not None and columns is not None:
        both = (rows[:, None] + columns).flatten(0, 1)
    elif rows is not None:
        both = rows.repeat_interleave(n_columns, dim=0)
    elif columns is not None:
        both = columns.repeat(n_rows, 1)
    else:
        return None
    return torch.cat([both, both.new_zeros(1, both.shape[1])])


def _on(device: torch.device, indices: NDArray[np.generic]) -> Tensor:
    return send(indices, device, torch.int64)

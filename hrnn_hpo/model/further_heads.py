"""What predicts later events than the next: heads on the same body and item table, for training alone.

A head that must know the coming days asks the state for more than the very next event does. Recommending asks no head
but the next event's. Which event a step's head learns is drawn by training/targets.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hrnn_hpo.model.accelerator import send

HORIZONS = ((1, 3), (4, 9))  # of each head, in events after the next one: the next 2-4 and 5-10


class FurtherHeads(nn.Module):
    """K residual maps of the readout, h + W h + b, that start as the next event's own readout (W = 0, b = 0)."""

    def __init__(self, hidden_dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(HORIZONS), hidden_dimension, hidden_dimension))
        self.bias = nn.Parameter(torch.zeros(len(HORIZONS), hidden_dimension))

    def forward(self, outputs: Tensor, ahead: NDArray[np.integer]) -> Tensor:
        """Return the readouts (N, H) that score the items `ahead` (N,) events after the next one, of readouts (N, H).

        Rows outside every horizon, such as the next event's own (0), are returned as they are.
        """
        found = outputs
        for head, (first, last) in enumerate(HORIZONS):
            rows = send(np.flatnonzero((ahead >= first) & (ahead <= last)), outputs.device)  # (M,)
            change = F.linear(outputs[rows], self.weight[head], self.bias[head])  # (M, H)
            found = found.index_add(0, rows, change.to(outputs.dtype))
        return found

"""Dropout whose mask costs one random byte an element: PyTorch's own takes several times as long on a CPU."""

import torch
from torch import Tensor, nn

_FULL_RANGE = -(2**63)


class Dropout(nn.Module):
    """Inverted dropout; on a CPU the rate is rounded to the next 1/256. Other devices use PyTorch's kernel."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.threshold = min(round(rate * 256), 255)  # something always stays

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.rate)
        n = x.numel()
        draws = torch.empty((n + 7) // 8, dtype=torch.int64).random_(_FULL_RANGE, None)
        mask = torch.empty_like(x)  # written by the comparison itself: a boolean mask and its cast take far longer
        torch.ge(draws.view(torch.uint8)[:n].view(x.shape), self.threshold, out=mask)
        return x * mask.mul_(256.0 / (256 - self.threshold))

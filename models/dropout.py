"""ReLU and dropout in one step, which takes less than half the time of the two on a CPU.

PyTorch draws a float for every unit on one core. Here 16 random bits decide on a unit, drawn four
units at a time; and what came out as 0 was either hidden or below 0, so the way back needs no mask.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_BITS: Final = 16
_LEVELS: Final = 2**_BITS


class ReLUDropout(nn.Module):
    """`dropout(relu(x))`: a share `p` of the units hidden in training, the others scaled up.

    The share is met to the 65,536th. Graphs and evaluation see a plain ReLU.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"a share of hidden units lies in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return functional.relu(x)
        if x.device.type != "cpu":
            return functional.dropout(functional.relu(x), self.p)
        hidden: Tensor = _Hidden.apply(x, self.p)  # type: ignore[no-untyped-call]
        return hidden

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        levels = round(p * _LEVELS)
        ctx.scale = _LEVELS / (_LEVELS - levels)
        hidden = (_drawn(x.numel()) < levels - _LEVELS // 2).view(x.shape)
        y = functional.relu(x).masked_fill_(hidden, 0.0).mul_(ctx.scale)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.threshold_backward(gradient, y, 0.0)  # as ReLU's own
        return passed.mul_(ctx.scale), None


def _drawn(units: int) -> Tensor:
    """A uniform 16-bit integer for each unit, by torch's generator: four from each draw."""
    draws = torch.empty(-(-units * _BITS // 64), dtype=torch.int64)
    return draws.random_(-(2**63), None).view(torch.int16)[:units]

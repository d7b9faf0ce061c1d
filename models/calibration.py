"""Calibration inside the graph: what a head's logit means as a probability.

Platt scaling (Platt, 1999) for each action: `scale * logit + shift`, the identity until it is
fitted. Its scale is above 0, so it keeps a head's order, and it travels in the exported graph, so
no caller can forget it.

Shapes: `A` actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Platt(nn.Module):
    """Logits [..., A] to calibrated logits [..., A]."""

    def __init__(self, *, actions: int) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(actions))
        self.register_buffer("shift", torch.zeros(actions))

    def forward(self, logits_A: Tensor) -> Tensor:
        calibrated_A: Tensor = logits_A * self.scale + self.shift
        return calibrated_A

    def fit(self, logits_RA: Tensor, labels_RA: Tensor, weights_R: Tensor) -> list[bool]:
        """Fit scale and shift by weighted cross-entropy; says for which actions that was possible.

        An action without both labels, or whose fitted scale would turn its order around (or is no
        number at all), keeps the identity.
        """
        fitted = []
        for action in range(logits_RA.shape[1]):
            labels_R = labels_RA[:, action] > 0
            pair = _fit_one(logits_RA[:, action], labels_RA[:, action], weights_R)
            usable = bool(
                labels_R.any() and not labels_R.all() and pair.isfinite().all() and pair[0] > 0
            )
            if usable:
                self.scale[action], self.shift[action] = pair
            fitted.append(usable)
        return fitted


_STEPS = 50
_DAMPING = 1e-6


def _fit_one(logits_R: Tensor, labels_R: Tensor, weights_R: Tensor) -> Tensor:
    """Newton's method on the convex loss of two numbers."""
    x = torch.stack([logits_R, torch.ones_like(logits_R)], dim=1).double()
    labels, weights = labels_R.double(), weights_R.double() / weights_R.double().sum()
    at = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for _ in range(_STEPS):
        p = torch.sigmoid(x @ at)
        gradient = x.T @ (weights * (p - labels))
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x
        step = torch.linalg.solve(hessian + _DAMPING * torch.eye(2, dtype=torch.float64), gradient)
        at = at - step
        if step.abs().max() < 1e-9:  # noqa: PLR2004 - converged
            break
    return at.float()

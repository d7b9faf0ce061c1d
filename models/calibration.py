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

    def then(self, line: Platt) -> None:
        """Put another line behind this one."""
        self.shift.copy_(self.shift * line.scale + line.shift)
        self.scale.mul_(line.scale)

    def fit(
        self,
        logits_RA: Tensor,
        labels_RA: Tensor,
        weights_RA: Tensor,
        chance_RA: Tensor | None = None,
    ) -> list[bool]:
        """Fit scale and shift by weighted cross-entropy; says for which actions that was possible.

        An action without both labels, or whose fitted scale would turn its order around (or is no
        number at all), keeps the identity. Rows of weight 0 say nothing of an action.

        Args:
            logits_RA: what is to be calibrated.
            labels_RA: what followed.
            weights_RA: how much each row says.
            chance_RA: that a row was looked at, default 1: `p = chance * sigmoid(line)`.
        """
        chance_RA = torch.ones_like(logits_RA) if chance_RA is None else chance_RA
        fitted = []
        for action in range(logits_RA.shape[1]):
            told = weights_RA[:, action] > 0
            columns = (logits_RA, labels_RA, weights_RA, chance_RA)
            logits_R, labels_R, weights_R, chance_R = (of[told, action].double() for of in columns)
            usable = bool((labels_R > 0).any() and (labels_R <= 0).any())
            if usable:
                pair = _fit_one(logits_R, labels_R, weights_R, chance_R)
                usable = bool(pair.isfinite().all() and pair[0] > 0)
            if usable:
                self.scale[action], self.shift[action] = pair
            fitted.append(usable)
        return fitted


_STEPS = 50
_DAMPING = 1e-6
_CERTAIN = 1.0 - 1e-9


def _fit_one(logits_R: Tensor, labels_R: Tensor, weights_R: Tensor, chance_R: Tensor) -> Tensor:
    """Fisher scoring for two numbers; Newton's method where everything was looked at."""
    x = torch.stack([logits_R, torch.ones_like(logits_R)], dim=1)
    weights = weights_R / weights_R.sum()
    at = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for _ in range(_STEPS):
        wanted = torch.sigmoid(x @ at)
        p = (chance_R * wanted).clamp(max=_CERTAIN)
        slope = (1 - wanted) / (1 - p)  # of p, against that of a plain logit
        gradient = x.T @ (weights * (p - labels_R) * slope)
        hessian = (x * (weights * p * (1 - p) * slope**2)[:, None]).T @ x
        step = torch.linalg.solve(hessian + _DAMPING * torch.eye(2, dtype=torch.float64), gradient)
        at = at - step
        if step.abs().max() < 1e-9:  # noqa: PLR2004 - converged
            break
    return at.float()

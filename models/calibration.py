"""Calibration inside the graph: what a head's logit means as a probability.

Platt scaling (Platt, 1999) for each action: `scale * logit + shift`, the identity until it is
fitted. Its scale is above 0, so it keeps a head's order, and it travels in the exported graph, so
no caller can forget it.

Shapes: `A` actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


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

    def then(self, line: Platt, heads: Sequence[bool] | None = None) -> None:
        """Put another line behind this one; with `heads`, behind those alone."""
        kept = torch.ones_like(self.scale) > 0 if heads is None else torch.tensor(heads)
        self.shift.copy_(torch.where(kept, self.shift * line.scale + line.shift, self.shift))
        self.scale.copy_(torch.where(kept, self.scale * line.scale, self.scale))

    def copy_of(self, line: Platt, head: int) -> None:
        """Be the line of one head of another."""
        self.scale.copy_(line.scale[head])
        self.shift.copy_(line.shift[head])

    def fit(
        self,
        logits_RA: Tensor,
        labels_RA: Tensor,
        weights_RA: Tensor,
        chance_RA: Tensor | None = None,
    ) -> list[bool]:
        """Fit scale and shift by weighted cross-entropy; says for which actions that was possible.

        An action that hardly happened, or always, or whose fitted scale would turn its order around
        (or is no number at all), keeps the identity. Rows of weight 0 say nothing of an action.

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
            happened = int((labels_R > 0).sum())
            usable = min(happened, len(labels_R) - happened) >= _LEAST
            if usable:
                pair = _fit_one(logits_R, labels_R, weights_R, chance_R)
                usable = bool(pair.isfinite().all() and pair[0] > 0)
            if usable:
                self.scale[action], self.shift[action] = pair
            fitted.append(usable)
        return fitted


_LEAST = 30  # rows that happened, and rows that did not
_STEPS = 50
_SMALL = 1e-9
_PRIOR = 10.0  # rows that happened, which say that logits are right as they are


def _fit_one(logits_R: Tensor, labels_R: Tensor, weights_R: Tensor, chance_R: Tensor) -> Tensor:
    """Fisher scoring for two numbers, every step halved until the loss falls.

    Where everything is looked at it is Newton's method on a convex loss.
    """
    x = torch.stack([logits_R, torch.ones_like(logits_R)], dim=1)
    identity = torch.tensor([1.0, 0.0], dtype=torch.float64)
    unseen_R = torch.log1p(-chance_R)

    def parts(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log of the chance that it happens, that it does not, and that it is not wanted."""
        wanted, unwanted = (functional.logsigmoid(sign * (x @ at)) for sign in (1.0, -1.0))
        return chance_R.log() + wanted, torch.logaddexp(unseen_R + wanted, unwanted), unwanted

    def loss(at: Tensor) -> Tensor:
        happens, happens_not, _ = parts(at)
        said = weights_R * (labels_R * happens + (1.0 - labels_R) * happens_not)
        return 0.5 * _PRIOR * ((at - identity) ** 2).sum() - said.sum()

    at, before = identity, loss(identity)
    for _ in range(_STEPS):
        happens, happens_not, unwanted = parts(at)
        p, slope = happens.exp(), (unwanted - happens_not).exp()  # slope: against a plain logit
        gradient = x.T @ (weights_R * (p - labels_R) * slope) + _PRIOR * (at - identity)
        hessian = (x * (weights_R * p * (1.0 - p) * slope**2)[:, None]).T @ x
        step = torch.linalg.solve(hessian + _PRIOR * torch.eye(2, dtype=torch.float64), gradient)
        while step.abs().max() > _SMALL and not loss(at - step) < before:
            step = 0.5 * step
        if step.abs().max() <= _SMALL:
            break
        at = at - step
        before = loss(at)
    return at.float()

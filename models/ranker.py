"""The ranking model: one probability for each action, from a candidate's ranking features.

Wide and deep (Cheng et al., 2016): a linear path keeps what a single strong feature says (a decayed
personal frequency is hard to beat on retail data), a deep path finds the crosses. Each action has
its own head; blending them is the venue's business.

Shapes: `B` users, `N` candidates, `F` features, `A` actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.calibration import Platt
from models.layers import MLP, Standardize


class Ranker(nn.Module):
    """Features [B, N, F] to logits [B, N, A]."""

    def __init__(
        self, *, features: int, actions: int, hidden: Sequence[int], dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.standardize = Standardize(width=features)
        self.wide = nn.Linear(features, actions)
        self.deep = MLP(in_width=features, widths=(*hidden, actions), dropout=dropout)
        self.calibrate = Platt(actions=actions)

    def forward(self, features_BNF: Tensor) -> Tensor:
        x_BNF = self.standardize(features_BNF)
        logits_BNA: Tensor = self.wide(x_BNF) + self.deep(x_BNF)
        return logits_BNA

    def probabilities(self, features_BNF: Tensor) -> Tensor:
        """Calibrated probability of each action, [B, N, A]."""
        return torch.sigmoid(self.calibrate(self(features_BNF)))

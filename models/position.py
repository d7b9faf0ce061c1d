"""What a place on the page does to an action, apart from the item that stands there.

The position-based click model (Chuklin, Markov and de Rijke, Click Models for Web Search, 2015): an
action happens when the place is examined and the item is wanted, `p = examined * sigmoid(logit)`.
The ranker's logit is that of the item being wanted; the place multiplies in training and stays out
of what is exported.

Shapes: `B` groups, `N` candidates, `A` actions, `P` places.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_CERTAIN = 1.0 - 1e-6


class Examined(nn.Module):
    """Logits of wanting [B, N, A] and places [B, N] to logits of acting [B, N, A].

    Place 0 (never shown) changes nothing. The chances are estimated beforehand and do not move:
    trained beside a network they would take up what the network is slow to learn of the items. Only
    the level of actions that proposals teach as well is learned, for an action on a page and one
    within a horizon are not the same event.
    """

    def __init__(self, *, chance_PA: Tensor, relative_A: Tensor, level_A: Tensor) -> None:
        """`relative_A` names the actions without a level: their logit means "if it stood first"."""
        super().__init__()
        self.chance_PA: Tensor
        self.relative_A: Tensor
        self.register_buffer("chance_PA", chance_PA.float())
        self.register_buffer("relative_A", relative_A.float())
        self.level = nn.Parameter(level_A.float().clone())

    def forward(self, logits_BNA: Tensor, positions_BN: Tensor) -> Tensor:
        place_BN = positions_BN.clamp(max=len(self.chance_PA) - 1)
        shown_BN1 = (place_BN > 0).unsqueeze(-1)
        wanted_BNA = logits_BNA + self.level * (1.0 - self.relative_A)
        log_p_BNA = self.chance_PA[place_BN].log() - functional.softplus(-wanted_BNA)
        acted_BNA = log_p_BNA - torch.log1p(-log_p_BNA.exp().clamp(max=_CERTAIN))
        return torch.where(shown_BN1, acted_BNA, logits_BNA)

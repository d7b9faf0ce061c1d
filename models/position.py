"""What a place on the page does to an action, apart from the item that stands there.

A logit for each place and action, learned beside the ranker and left out when it is exported: the
shallow tower of Zhao et al. (Recommending What Video to Watch Next, 2019). Where actions are rare
the sigmoid is close to an exponential, so adding the logits multiplies the chance that the place is
examined with the chance that the item is wanted: the position-based click model.

Shapes: `B` groups, `N` candidates, `A` actions, `P` places.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PositionBias(nn.Module):
    """Places [B, N] to logits [B, N, A]; place 0 (never shown) adds nothing.

    `relative` names the actions that only shown items teach: for them the first place adds nothing,
    so their logit means "if it stood first". For the others the first place has a logit of its own,
    which takes up that an action on a page and one within a horizon are not the same event.
    """

    def __init__(self, *, places: int, relative: Tensor) -> None:
        super().__init__()
        self.places = places
        self.table = nn.Parameter(torch.zeros(places + 1, len(relative)))
        self.relative_A: Tensor
        self.register_buffer("relative_A", relative.float())

    def forward(self, positions_BN: Tensor) -> Tensor:
        logits_PA = self.logits()
        place_BN = positions_BN.clamp(max=self.places)
        logits_BNA: Tensor = logits_PA[place_BN] * (place_BN > 0).unsqueeze(-1)
        return logits_BNA

    def logits(self) -> Tensor:
        """The logit of each place, float [P + 1, A]."""
        logits_PA: Tensor = self.table - self.relative_A * self.table[1]
        return logits_PA

    def start_at(self, rates_PA: Tensor, base_A: Tensor) -> None:
        """Start at the log odds of the rates in each place against `base_A`; training corrects."""
        odds_PA = torch.logit(rates_PA, eps=1e-6) - torch.logit(base_A, eps=1e-6)
        with torch.no_grad():
            self.table[1:] = odds_PA[1:]

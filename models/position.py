"""What a place on the page does to an action, apart from the item that stands there.

The position-based click model (Chuklin, Markov and de Rijke, Click Models for Web Search, 2015): an
action happens when the place is examined and the item is wanted, `p = examined * sigmoid(logit)`.
The ranker's logit is that of the item being wanted; the place multiplies in training and stays out
of what is exported.

Shapes: `B` groups, `N` candidates, `H` heads, `P` places.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CERTAIN = 1.0 - 1e-6


def acting(logits_BNH: Tensor, positions_BN: Tensor, chance_PH: Tensor) -> Tensor:
    """Logits of wanting and places to logits of acting, [B, N, H].

    Place 0 (never shown) changes nothing; places beyond the last share its chance. The chances that
    a place is examined are estimated beforehand and do not learn: trained beside a network they
    would take up what the network is slow to learn of the items.
    """
    place_BN = positions_BN.clamp(max=len(chance_PH) - 1)
    shown_BN1 = (place_BN > 0).unsqueeze(-1)
    log_p_BNH = chance_PH[place_BN].log() - functional.softplus(-logits_BNH)
    acted_BNH = log_p_BNH - torch.log1p(-log_p_BNH.exp().clamp(max=_CERTAIN))
    return torch.where(shown_BN1, acted_BNH, logits_BNH)

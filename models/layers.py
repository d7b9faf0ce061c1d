"""Small dense building blocks shared by the two models.

Shapes: `B` batch, `L` sequence, `D` width, `F` features, `H` heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.dropout import ReLUDropout


class MLP(nn.Sequential):
    """Linear layers with ReLU and layer norm between them; the last layer is plain.

    `[..., in_width] -> [..., widths[-1]]`
    """

    def __init__(self, *, in_width: int, widths: Sequence[int], dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        width = in_width
        for i, out_width in enumerate(widths):
            layers.append(nn.Linear(width, out_width))
            if i < len(widths) - 1:
                layers += [nn.LayerNorm(out_width), ReLUDropout(dropout)]
            width = out_width
        super().__init__(*layers)

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        last = self[-1]
        assert isinstance(last, nn.Linear)  # noqa: S101 - as built above
        return last


_CONSTANT = 1e-6  # a standard deviation below this is that of a constant


class Standardize(nn.Module):
    """`(x - mean) / std` with statistics fitted on training data, clipped to +-`limit`.

    Part of the graph, so serving feeds raw features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, *, width: int, limit: float = 6.0) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, rows_NF: Tensor) -> None:
        """Set mean and scale from rows; a constant column gets scale 1."""
        std = rows_NF.std(dim=0)
        scale = torch.where(std > _CONSTANT, 1.0 / std.clamp(min=_CONSTANT), torch.ones_like(std))
        self.mean.copy_(rows_NF.mean(dim=0))
        self.scale.copy_(scale)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) * self.scale).clamp(-self.limit, self.limit)


class AttentionPooling(nn.Module):
    """Pool a masked sequence with `H` learned queries.

    `a_h = softmax(q_h . tanh(W x) + b)`, out = concat_h(sum_l a_hl x_l); a sequence that is all
    padding pools to zero. Cf. Lin et al., A Structured Self-attentive Sentence Embedding (2017).
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, heads, bias=False)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        scores_BLH = self.query(torch.tanh(self.key(x_BLD)))
        scores_BLH = scores_BLH.masked_fill(~mask_BL.unsqueeze(-1), -1e4)
        weights_BLH = torch.softmax(scores_BLH, dim=1) * mask_BL.unsqueeze(-1)
        return torch.einsum("blh,bld->bhd", weights_BLH, x_BLD).flatten(1)

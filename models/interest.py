"""What a user's memory says of a candidate that is new to the user: target attention.

After the deep interest network (Zhou et al., 2018): a candidate asks the items that the user
acted on last, and what it finds in them depends on the candidate. Two answers are kept: their mean
by a softmax, and how much there is that goes with the candidate, which a softmax cannot tell. What
the last action was and how long ago weighs in both. Items are known here by their attributes alone,
so one that nobody acted on yet asks like any other, and no user is learned by heart.

An item that the user did the target action on before is left to the features of its own past: there
attention only learns by heart who bought what. One that was clicked alone may meet itself in the
memory.

Shapes: `B` users, `N` candidates, `M` remembered items, `K` attributes, `D` width, `F` features,
`n` items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.layers import MLP

_GAP_WIDTH = 16
_HIDDEN = 64
_DROPOUT = 0.2
_NEVER = -1e4  # instead of minus infinity: half precision holds it


class Context(NamedTuple):
    """Who is asked about what; item numbers are the index in the catalogue + 1, 0 padding."""

    items: Tensor  # int64 [B, N], the candidates
    remembered: Tensor  # int64 [B, M], the items that a user acted on last
    days: Tensor  # float [B, M], log1p of days since the last action on each
    types: Tensor  # int64 [B, M], number of the type of that action, 0 padding


class Interest(nn.Module):
    """Standardized features and a context to what is added to a candidate's logit, [B, N]."""

    def __init__(self, *, features: int, codes: Tensor, types: int, width: int) -> None:
        """`codes` is int32 [n + 1, K]: attribute codes by item number, 0 unknown and padding.

        `types` is how many numbers a type of action may have, padding's 0 among them.
        """
        super().__init__()
        self.codes: Tensor
        self.register_buffer("codes", codes)
        sizes: Sequence[int] = (codes.amax(dim=0) + 1).tolist()
        tables = [nn.Embedding(size, width) for size in sizes]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        self.attributes = nn.ModuleList(tables)
        self.type_tokens, self.type_weights = nn.Embedding(types, width), nn.Embedding(types, 2)
        nn.init.zeros_(self.type_tokens.weight)
        nn.init.zeros_(self.type_weights.weight)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.gap = nn.Sequential(nn.Linear(1, _GAP_WIDTH), nn.ReLU(), nn.Linear(_GAP_WIDTH, 2))
        self.dropout = nn.Dropout(_DROPOUT)
        self.out = MLP(in_width=features + 2 * width + 1, widths=(_HIDDEN, 1), dropout=_DROPOUT)
        nn.init.zeros_(self.out.head.weight)
        nn.init.zeros_(self.out.head.bias)
        self.temperature = width**-0.5
        self.table: Tensor | None
        self.register_buffer("table", None, persistent=False)

    def forward(self, x_BNF: Tensor, context: Context) -> Tensor:
        there_BM1 = (context.remembered > 0).unsqueeze(-1)
        asking_BND = self.dropout(self.tokens(context.items))
        past_BMD = (self.tokens(context.remembered) + self.type_tokens(context.types)) * there_BM1
        weight_BM2 = self.gap(context.days.unsqueeze(-1)) + self.type_weights(context.types)
        weight_BM2 = weight_BM2.masked_fill(~there_BM1, _NEVER)
        within_B1M, much_B1M = weight_BM2.unsqueeze(1).unbind(dim=-1)
        query_BND = self.query(asking_BND) * self.temperature
        alike_BNM = query_BND @ self.key(past_BMD).transpose(1, 2)
        found_BND = (alike_BNM + within_B1M).softmax(dim=-1) @ past_BMD
        much_BN1 = torch.sigmoid(alike_BNM + much_B1M).sum(dim=-1, keepdim=True)
        told = [x_BNF, asking_BND * found_BND, found_BND, much_BN1.log1p()]
        added_BN: Tensor = self.out(torch.cat(told, dim=-1)).squeeze(-1)
        return added_BN

    @torch.no_grad()
    def settle(self) -> None:
        """Sum the embeddings of every item once; what learns no more looks them up."""
        self.table = self.tokens(torch.arange(len(self.codes)))

    def tokens(self, items: Tensor) -> Tensor:
        """Items [...] as the sums of their attributes' embeddings, [..., D]."""
        if self.table is not None:
            return self.table[items]
        codes = self.codes[items].long()
        parts = [table(codes[..., k]) for k, table in enumerate(self.attributes)]
        return torch.stack(parts).sum(dim=0)

"""The two-tower retrieval model: a user tower and an item tower that meet in a dot product.

- One TorchRec embedding collection for ids, attributes and tags, shared by both towers.
- A history token is the sum of an item's id and attribute embeddings, the event type and the gap.
- The item tower sees id, attributes and statistics; an item without a trained id row still gets a
  vector from its attributes (id dropout in training makes that path work).
- The last coordinate of the user vector is 1, so the last of the item vector is a learned bias.

After YouTube's two-tower retrieval (Yi et al., Sampling-Bias-Corrected Neural Modeling, 2019).

Shapes: `B` users, `I` items, `L` recent actions, `T` tag tokens, `K` affinity values,
`A` attributes, `D` width, `F` dense features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.embeddings import Embeddings, TableSpec
from models.layers import MLP, AttentionPooling, Standardize

ITEM_ROWS = "item_rows"
HISTORY_ROWS = "history_rows"
USER_ROWS = "user_rows"
TAG_TOKENS = "tag_tokens"
GAP_BUCKETS = 12


def attribute_table(number: int) -> str:
    """Name of the table of the attribute with this number: a module's name holds no dot."""
    return f"attribute_{number}"


def item_codes(attribute: str) -> str:
    """Feature name: an attribute's codes of the batch's items."""
    return f"item:{attribute}"


def history_codes(attribute: str) -> str:
    """Feature name: an attribute's codes of the recent actions."""
    return f"history:{attribute}"


def preference_codes(attribute: str) -> str:
    """Feature name: an attribute's codes by the user's preference."""
    return f"preference:{attribute}"


def preference_shares(attribute: str) -> str:
    """Batch name: the share of each preferred code."""
    return f"shares:{attribute}"


def tables(
    *,
    items: int,
    users: int,
    tags: int,
    attributes: Mapping[str, int],
    affinity: Sequence[str],
) -> list[TableSpec]:
    """The tables that a two-tower model of these sizes needs (row 0 of each is 'unknown')."""
    specs = [
        TableSpec("item", items + 1, (ITEM_ROWS, HISTORY_ROWS)),
        TableSpec("user", users + 1, (USER_ROWS,)),
        TableSpec("tag", tags + 1, (TAG_TOKENS,)),
    ]
    for number, (name, size) in enumerate(attributes.items()):
        features = [item_codes(name), history_codes(name)]
        if name in affinity:
            features.append(preference_codes(name))
        specs.append(TableSpec(attribute_table(number), size, tuple(features)))
    return specs


class UserTower(nn.Module):
    """User inputs, already embedded, to user vectors [B, D + 1]; the last coordinate is 1."""

    def __init__(
        self,
        *,
        width: int,
        hidden: Sequence[int],
        dense_width: int,
        event_codes: int,
        affinity_columns: int,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.event = nn.Embedding(event_codes, width)
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        self.pool = AttentionPooling(width=width, heads=heads)
        self.standardize = Standardize(width=dense_width)
        in_width = width * (heads + 1 + 2 + affinity_columns) + dense_width
        self.mlp = MLP(in_width=in_width, widths=(*hidden, width), dropout=dropout)

    def forward(
        self,
        user_BD: Tensor,
        history_BLD: Tensor,
        mask_BL: Tensor,
        codes_BL: Tensor,
        days_BL: Tensor,
        tags_BTD: Tensor,
        preferences: Sequence[tuple[Tensor, Tensor]],
        dense_BF: Tensor,
    ) -> Tensor:
        """`preferences`: for each affinity column its vectors [B, K, D] and shares [B, K]."""
        bucket_BL = (days_BL * 2.0).to(torch.int64).clamp(0, GAP_BUCKETS - 1)
        tokens_BLD = history_BLD + self.event(codes_BL) + self.gap(bucket_BL)
        weight_BL = mask_BL.to(history_BLD.dtype)
        mean_BD = (history_BLD * weight_BL.unsqueeze(-1)).sum(1) / weight_BL.sum(1).clamp(
            min=1.0
        ).unsqueeze(-1)
        parts = [
            self.pool(tokens_BLD, mask_BL),
            mean_BD,
            user_BD,
            tags_BTD.sum(1),
            *((vectors * shares.unsqueeze(-1)).sum(1) for vectors, shares in preferences),
            self.standardize(dense_BF),
        ]
        vector_BD = self.mlp(torch.cat(parts, dim=-1))
        return torch.cat([vector_BD, torch.ones_like(vector_BD[:, :1])], dim=-1)


class ItemTower(nn.Module):
    """Embedded item id, attributes and statistics to item vectors [I, D + 1], bias last."""

    def __init__(
        self,
        *,
        width: int,
        hidden: Sequence[int],
        dense_width: int,
        attributes: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(width=dense_width)
        in_width = width * (1 + attributes) + dense_width
        self.mlp = MLP(in_width=in_width, widths=(*hidden, width + 1), dropout=dropout)

    def forward(self, item_ID: Tensor, attributes: Sequence[Tensor], dense_IF: Tensor) -> Tensor:
        vector_ID = self.mlp(torch.cat([item_ID, *attributes, self.standardize(dense_IF)], dim=-1))
        residual_ID = item_ID + sum(attributes, torch.zeros_like(item_ID))
        return torch.cat([vector_ID[:, :-1] + residual_ID, vector_ID[:, -1:]], dim=-1)


class TwoTower(nn.Module):
    """Embeddings and both towers as one trainable module: batch in, vectors out."""

    def __init__(
        self,
        *,
        embeddings: Embeddings,
        user_tower: UserTower,
        item_tower: ItemTower,
        attributes: Sequence[str],
        affinity: Sequence[str],
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.user_tower = user_tower
        self.item_tower = item_tower
        self.attributes = tuple(attributes)
        self.affinity = tuple(affinity)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
        """User vectors [B, D + 1] and item vectors [I, D + 1] of a batch.

        A batch without users gives None for them, one without items likewise. It holds the id
        features of `tables` and the dense inputs `codes`, `mask`, `days`, `user_dense`,
        `item_dense` and `preference_shares(column)`.
        """
        looked_up = self.embeddings(batch)
        users = self._users(batch, looked_up) if USER_ROWS in batch else None
        items = self._items(batch, looked_up) if ITEM_ROWS in batch else None
        return users, items

    def _users(self, batch: Mapping[str, Tensor], looked_up: Mapping[str, Tensor]) -> Tensor:
        history_BLD = history_tokens(
            looked_up[HISTORY_ROWS], [looked_up[history_codes(a)] for a in self.attributes]
        )
        preferences = [
            (looked_up[preference_codes(a)], batch[preference_shares(a)]) for a in self.affinity
        ]
        vectors_BD: Tensor = self.user_tower(
            nonzero(batch[USER_ROWS], looked_up[USER_ROWS]),
            history_BLD,
            batch["mask"],
            batch["codes"],
            batch["days"],
            nonzero(batch[TAG_TOKENS], looked_up[TAG_TOKENS]),
            preferences,
            batch["user_dense"],
        )
        return vectors_BD

    def _items(self, batch: Mapping[str, Tensor], looked_up: Mapping[str, Tensor]) -> Tensor:
        vectors_ID: Tensor = self.item_tower(
            nonzero(batch[ITEM_ROWS], looked_up[ITEM_ROWS]),
            [looked_up[item_codes(a)] for a in self.attributes],
            batch["item_dense"],
        )
        return vectors_ID


def history_tokens(item_BLD: Tensor, attributes: Sequence[Tensor]) -> Tensor:
    """Sum of an item's id and attribute embeddings, [..., D]."""
    return item_BLD + sum(attributes, torch.zeros_like(item_BLD))


def nonzero(rows: Tensor, vectors: Tensor) -> Tensor:
    """Vectors with those of row 0 (unknown) set to zero."""
    return vectors * (rows > 0).unsqueeze(-1).to(vectors.dtype)

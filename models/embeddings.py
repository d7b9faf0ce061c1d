"""Embedding tables of the two-tower model, as TorchRec holds them.

All ids of a batch are looked up in one `EmbeddingCollection`, so the tables can be sharded by
`DistributedModelParallel` and updated by a fused optimizer in the backward pass. Features are
jagged with a single row each (stride 1), since a batch holds different numbers of users and items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchrec import EmbeddingCollection, EmbeddingConfig, JaggedTensor, KeyedJaggedTensor


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table: `rows` x width, looked up by several features. Row 0 stands for unknown."""

    name: str
    rows: int
    features: tuple[str, ...]


class Embeddings(nn.Module):
    """Looks up every id feature of a batch at once.

    `{feature: ids [...]} -> {feature: vectors [..., D]}` for the features that the batch holds.
    """

    def __init__(
        self, *, tables: Sequence[TableSpec], width: int, device: torch.device | None = None
    ) -> None:
        super().__init__()
        self.features = tuple(name for table in tables for name in table.features)
        self.width = width
        self.collection = EmbeddingCollection(
            tables=[
                EmbeddingConfig(
                    name=table.name,
                    embedding_dim=width,
                    num_embeddings=table.rows,
                    feature_names=list(table.features),
                    init_fn=lambda weight: nn.init.normal_(weight, std=0.05),
                )
                for table in tables
            ],
            device=device or torch.device("cpu"),
        )

    def forward(self, ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        absent = torch.zeros(0, dtype=torch.int64)
        flat = [ids.get(name, absent).reshape(-1) for name in self.features]
        looked_up: dict[str, JaggedTensor] = self.collection(
            KeyedJaggedTensor(
                keys=list(self.features),
                values=torch.cat(flat),
                lengths=torch.tensor([len(f) for f in flat], dtype=torch.int32),
            )
        )
        return {
            name: looked_up[name].values().view(*ids[name].shape, self.width)
            for name in self.features
            if name in ids
        }

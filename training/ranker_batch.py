"""Batches of labelled groups, padded to one length, as the ranker takes them.

Shapes: `B` groups of a batch, `N` candidates (padded), `F` features, `H` heads, `M` remembered
items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.interest import Context
from training.proposals import Examples


@dataclass(frozen=True, slots=True)
class Batch:
    """Groups of examples, padded to the longest of them; padding has weight 0 and place 0."""

    rows: npt.NDArray[np.int64]  # [B, N] of the examples; 0 for padding
    features: Tensor  # [B, N, F]
    labels: Tensor  # [B, N, H]
    weights: Tensor  # [B, N]
    positions: Tensor  # [B, N]
    shown: npt.NDArray[np.bool_]  # [B]
    launched: npt.NDArray[np.bool_]  # [B]
    inside: npt.NDArray[np.bool_]  # [B, N] what is no padding
    context: Context

    @classmethod
    def of(cls, examples: Examples, groups: npt.NDArray[np.integer]) -> Batch:
        """Take these groups."""
        rows, inside = _rows(examples, groups)
        weights = np.where(inside, examples.weights[rows], 0.0).astype(np.float32)
        memory = examples.memory.take(groups)
        positions = np.where(inside, examples.positions[rows], 0).astype(np.int64)
        return cls(
            rows=rows,
            features=torch.from_numpy(examples.features[rows]),
            labels=torch.from_numpy(examples.labels[rows]),
            weights=torch.from_numpy(weights),
            positions=torch.from_numpy(positions),
            shown=examples.shown[groups],
            launched=examples.launched[groups],
            inside=inside,
            context=Context(
                items=torch.from_numpy(np.where(inside, examples.items[rows], 0).astype(np.int64)),
                remembered=torch.from_numpy(memory.items.astype(np.int64)),
                days=torch.from_numpy(memory.days),
                types=torch.from_numpy(memory.types.astype(np.int64)),
            ),
        )


def in_order(examples: Examples) -> Iterator[Batch]:
    """All groups, some hundred at a time: their rows follow each other as in the examples."""
    groups = np.arange(len(examples.starts) - 1)
    for start in range(0, len(groups), _AT_A_TIME):
        yield Batch.of(examples, groups[start : start + _AT_A_TIME])


_AT_A_TIME: Final = 256


def _rows(
    examples: Examples, groups: np.ndarray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Row numbers of the groups as [B, N], and which of them are no padding."""
    starts, ends = examples.starts[groups], examples.starts[groups + 1]
    rows = starts[:, None] + np.arange(int((ends - starts).max()))[None, :]
    inside = rows < ends[:, None]
    return np.where(inside, rows, 0), inside

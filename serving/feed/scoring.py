"""Scoring: probabilities of each action, blended once into one number, then ordered.

Shapes: `N` candidates, `A` actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qianmian.features.item_table import Float32, Int32
from qianmian.retrieval.sources import FALLBACK, SOURCE_CODE, Candidates, Int8
from serving.feed.resident import VenuePool


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in their final order, best first."""

    items: Int32  # [N]
    source: Int8  # [N]
    retrieval: Float32  # [N]
    probabilities: Float32  # [N, A]; no columns where no ranker scored
    score: Float32  # [N], finite, never rising

    def __len__(self) -> int:
        return len(self.items)


def weights_for(actions: tuple[str, ...], *objectives: Mapping[str, float]) -> Float32:
    """Return the weight of each action, float32 [A]; later objectives replace earlier ones.

    All zeros if no objective names any of the actions.
    """
    merged: dict[str, float] = {}
    for objective in objectives:
        merged.update(objective)
    return np.array([merged.get(action, 0.0) for action in actions], dtype=np.float32)


def blend(probabilities: Float32, weights: Float32) -> Float32:
    """Return the score of each candidate: its action probabilities, weighted and summed, [N].

    >>> import numpy as np
    >>> blend(np.array([[0.5, 0.25]], np.float32), np.array([1.0, 2.0], np.float32)).tolist()
    [1.0]
    """
    score: Float32 = probabilities @ weights
    return score


def order(candidates: Candidates, probabilities: Float32, score: Float32) -> Ranking:
    """Order candidates by score, ties by item index; what has no finite score is left out."""
    rows = np.argsort(-score, kind="stable")
    falling = score[rows]
    if not (falling[1:] < falling[:-1]).all() or not np.isfinite(falling).all():
        rows = np.lexsort((candidates.items, -score))
        rows = rows[np.isfinite(score[rows])]
    return Ranking(
        items=candidates.items[rows],
        source=candidates.source[rows],
        retrieval=candidates.retrieval[rows],
        probabilities=probabilities[rows],
        score=score[rows],
    )


def unscored(candidates: Candidates) -> Float32:
    """Probabilities of no action at all, float32 [N, 0]."""
    return np.zeros((len(candidates), 0), dtype=np.float32)


def popular(pool: VenuePool, limit: int) -> Candidates:
    """Return the venue's most popular items as candidates, scored by their popularity."""
    items = pool.by_popularity[:limit]
    return Candidates(
        items=items,
        source=np.full(len(items), SOURCE_CODE[FALLBACK], dtype=np.int8),
        retrieval=pool.popularity[:limit],
        neighbour=np.zeros(len(items), dtype=np.float32),
    )

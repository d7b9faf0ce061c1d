"""Item-kNN over the whole catalogue, as a baseline of evaluations.

After Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001): cosines
of what users have, an item its own nearest neighbour, so that what is bought again stays on top.

Shapes: `U` users, `n` items of the catalogue, `K` items that take part.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qianmian.features.item_table import Float32, Int32
from qianmian.retrieval.neighbours import Neighbours

NEIGHBOURS: Final = 100
MIN_USERS: Final = 2

_SHRINKAGE = 10.0  # added to the product of the norms: few common users count for less
_BLOCK = 1024  # items at a time


def fit_item_knn(had_Un: sp.csr_array) -> Neighbours:
    """Learn the nearest neighbours of each item from what each user has of it, float32."""
    items = had_Un.shape[1]
    owners = np.bincount(had_Un.indices, minlength=items)
    known = np.flatnonzero(owners >= MIN_USERS)
    if len(known) <= 1:
        return Neighbours.none(items)
    had_UK = had_Un.tocsc()[:, known]
    norms = np.sqrt(had_UK.multiply(had_UK).sum(axis=0))
    users, nearest = had_UK.tocsr(), []
    for first in range(0, len(known), _BLOCK):
        common = (had_UK[:, first : first + _BLOCK].T @ users).tocsr()  # [block, K]
        for row, (a, b) in enumerate(itertools.pairwise(common.indptr)):
            places = common.indices[a:b]
            cosines = common.data[a:b] / (norms[first + row] * norms[places] + _SHRINKAGE)
            if len(places) > NEIGHBOURS:
                best = np.argpartition(cosines, len(places) - NEIGHBOURS)[-NEIGHBOURS:]
                places, cosines = places[best], cosines[best]
            nearest.append((places, cosines))
    return _rows(nearest, known, items)


def _rows(
    nearest: Sequence[tuple[Int32, Float32]], known: npt.NDArray[np.intp], items: int
) -> Neighbours:
    """What each item lists, turned around: from what a user has to what it speaks for."""
    had = np.concatenate([places for places, _ in nearest])
    spoken = np.repeat(known, [len(places) for places, _ in nearest])
    order = np.argsort(had, kind="stable")
    starts = np.zeros(items + 1, dtype=np.int64)
    starts[1:] = np.cumsum(np.bincount(known[had], minlength=items))
    return Neighbours(
        starts=starts,
        items=spoken[order].astype(np.int32),
        weights=np.concatenate([cosines for _, cosines in nearest])[order].astype(np.float32),
    )

"""Item-kNN over the catalogue, as a baseline of evaluations.

After Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001): cosines
of what users have, an item its own nearest neighbour, so that what is bought again stays on top.

Shapes: `U` users, `n` items of the catalogue, `K` items that take part.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy.sparse as sp

from qianmian.features.item_table import Float32, Int32
from qianmian.retrieval.neighbours import Neighbours
from training.workers import by_all_cores, in_parts

NEIGHBOURS: Final = 100
MIN_USERS: Final = 2
#: Items that take part, at most, those with the most users: their lists take 200 MB.
MOST_ITEMS: Final = 250_000

_SHRINKAGE = 10.0  # added to the product of the norms: few common users count for less
_BLOCK = 1024  # items at a time


def fit_item_knn(had_Un: sp.csr_array) -> Neighbours:
    """Learn the nearest neighbours of each item from what each user has of it, float32."""
    items = had_Un.shape[1]
    owners = np.bincount(had_Un.indices, minlength=items)
    known = np.sort(np.argsort(-owners, kind="stable")[:MOST_ITEMS])
    known = known[owners[known] >= MIN_USERS]
    if len(known) <= 1:
        return Neighbours.none(items)
    had_UK = had_Un.tocsc()[:, known]
    norms = np.sqrt(had_UK.multiply(had_UK).sum(axis=0))
    users, columns = had_UK.tocsr(), had_UK.T.tocsr()

    def nearest(some: range) -> sp.csr_array:
        common = (columns[some.start : some.stop] @ users).tocsr()  # [block, K]
        rows = []
        for row, (a, b) in zip(some, itertools.pairwise(common.indptr), strict=True):
            places = common.indices[a:b]
            cosines = common.data[a:b] / (norms[row] * norms[places] + _SHRINKAGE)
            if len(places) > NEIGHBOURS:
                best = np.argpartition(cosines, len(places) - NEIGHBOURS)[-NEIGHBOURS:]
                places, cosines = places[best], cosines[best]
            rows.append((places, cosines))
        return _block(rows, len(known))

    parts = list(by_all_cores(nearest, in_parts(len(known), _BLOCK)))
    spoken = sp.vstack(parts).T.tocsr()  # [K, K] from what a user has to what it speaks for
    starts = np.zeros(items + 1, dtype=np.int64)
    starts[known + 1] = np.diff(spoken.indptr)
    return Neighbours(
        starts=np.cumsum(starts), items=known[spoken.indices].astype(np.int32), weights=spoken.data
    )


def _block(rows: Sequence[tuple[Int32, Float32]], width: int) -> sp.csr_array:
    """What each item lists, one row an item, float32 [block, K]."""
    places, cosines = zip(*rows, strict=True)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in places])])
    data = np.concatenate(cosines).astype(np.float32)
    return sp.csr_array((data, np.concatenate(places), indptr), shape=(len(rows), width))

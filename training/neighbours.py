"""Learns item neighbours from the target actions before a moment.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019): with `X` [U, K] what
users have and `P = (XᵀX + λI)⁻¹`, the weights are `B = -P / diag(P)` off the diagonal. `X` holds
square roots of decayed counts. Each target item keeps its strongest weights, which loses nothing
measurable.

Shapes: `U` users, `K` items that take part, `n` items of the catalogue.
"""

from __future__ import annotations

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.neighbours import HALF_LIFE_DAYS, STRONGEST, Neighbours
from training.actions import Actions, distinct
from training.profile import NeighboursProfile

_SHRINKAGE = 10.0
_THREADS = 2  # of BLAS: the product is one large matrix, unlike everything else in training


def fit_neighbours(
    targets: Actions, *, users: int, items: int, moment: float, profile: NeighboursProfile
) -> Neighbours:
    """Learn EASE's weights from target actions before `moment` (epoch seconds)."""
    known, had = _decayed_counts(targets, users, items, moment, profile)
    if len(known) <= 1:
        return Neighbours.none(items)
    return _strongest(_ease(had, profile.regularization), known, items, profile.kept)


def fit_item_knn(
    targets: Actions, *, users: int, items: int, moment: float, profile: NeighboursProfile
) -> Neighbours:
    """Item-kNN on the same counts: cosines, an item its own nearest neighbour.

    After Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001);
    `shrinkage` is added to the product of the norms, so few common users count for less.
    """
    known, had = _decayed_counts(targets, users, items, moment, profile)
    if len(known) <= 1:
        return Neighbours.none(items)
    with threadpool_limits(_THREADS, user_api="blas"):
        gram = had.T @ had
    norms = np.sqrt(gram.diagonal())
    cosines = gram / (norms[:, None] * norms[None, :] + _SHRINKAGE)
    return _strongest(cosines, known, items, profile.kept)


def _decayed_counts(
    targets: Actions, users: int, items: int, moment: float, profile: NeighboursProfile
) -> tuple[np.ndarray, np.ndarray]:
    """Items with the most users [K], ascending, and what each user has of them, float32 [U, K]."""
    past = targets.between(-np.inf, moment)
    pairs = distinct(past.users.astype(np.int64) * items + past.items)
    buyers = np.bincount(pairs % items, minlength=items)
    known = np.argsort(-buyers, kind="stable")[: profile.items]
    known = np.sort(known[buyers[known] >= profile.min_users])
    column = np.full(items, -1)
    column[known] = np.arange(len(known))
    inside = column[past.items] >= 0
    age_days = (moment - past.at[inside]) / SECONDS_PER_DAY
    counts = np.bincount(
        past.users[inside].astype(np.int64) * len(known) + column[past.items[inside]],
        weights=np.exp2(-age_days / HALF_LIFE_DAYS),
        minlength=users * len(known),
    )
    had = np.minimum(np.sqrt(counts), STRONGEST).astype(np.float32).reshape(users, len(known))
    return known, had


def _ease(had: np.ndarray, regularization: float) -> np.ndarray:
    """Weights [K, K] from the item of the row to the item of the column.

    The Gram matrix is positive definite: its Cholesky factor is inverted, not itself.
    """
    rows = torch.from_numpy(had)
    gram = rows.T @ rows
    gram.diagonal().add_(regularization)
    weights: np.ndarray = torch.cholesky_inverse(torch.linalg.cholesky(gram)).numpy()
    weights /= -weights.diagonal()[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights


def _strongest(weights: np.ndarray, known: np.ndarray, items: int, kept: int) -> Neighbours:
    """The `kept` weights of the largest size of each column, row after row."""
    size = np.abs(weights)
    kept = min(kept, len(known))
    floor = np.partition(size, len(known) - kept, axis=0)[len(known) - kept]
    rows, columns = np.nonzero((size >= floor[None, :]) & (size > 0))
    starts = np.zeros(items + 1, dtype=np.int64)
    starts[1:] = np.cumsum(np.bincount(known[rows], minlength=items))
    return Neighbours(
        starts=starts,
        items=known[columns].astype(np.int32),
        weights=weights[rows, columns].astype(np.float32),
    )

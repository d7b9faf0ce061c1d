"""Learns item neighbours from the target actions before a moment.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019): with `X` [U, K] what
users have and `P = (XᵀX + λI)⁻¹`, the weights are `B = -P / diag(P)` off the diagonal. `X` holds
square roots of decayed counts. The items with the most users take part, and each keeps its
strongest weights: that loses nothing measurable on items new to a user, and much on those that the
user had, of which the ranker knows more by their own rhythm. `training.ease` leaves nothing out.

Shapes: `U` users, `K` items that take part, `n` items of the catalogue.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from qianmian.retrieval.neighbours import Neighbours
from training.actions import Actions
from training.profile import NeighboursProfile
from training.user_items import had_by_users, well_known


def fit_neighbours(
    targets: Actions, *, users: int, items: int, moment: float, profile: NeighboursProfile
) -> Neighbours:
    """Learn EASE's weights from target actions before `moment` (epoch seconds)."""
    had = had_by_users(targets, users=users, items=items, moment=moment)
    known = well_known(had, items=profile.items, min_users=profile.min_users)
    if len(known) <= 1:
        return Neighbours.none(items)
    dense = had.tocsc()[:, known].toarray()
    return _strongest(_ease(dense, profile.regularization), known, items, profile.kept)


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


def _strongest(
    weights: np.ndarray, known: npt.NDArray[np.intp], items: int, kept: int
) -> Neighbours:
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

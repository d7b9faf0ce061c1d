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
import scipy.sparse as sp
import torch

from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.neighbours import HALF_LIFE_DAYS, STRONGEST, Neighbours
from training.actions import Actions
from training.profile import NeighboursProfile


def fit_neighbours(
    targets: Actions, *, users: int, items: int, moment: float, profile: NeighboursProfile
) -> Neighbours:
    """Learn EASE's weights from target actions before `moment` (epoch seconds)."""
    had = had_by_users(targets, users=users, items=items, moment=moment)
    known = well_known(had, profile)
    if len(known) <= 1:
        return Neighbours.none(items)
    dense = had.tocsc()[:, known].toarray()
    return _strongest(_ease(dense, profile.regularization), known, items, profile.kept)


def had_by_users(targets: Actions, *, users: int, items: int, moment: float) -> sp.csr_array:
    """What each user has of each item before `moment`, float32 [U, n]: roots of decayed counts."""
    past = targets.between(-np.inf, moment)
    age_days = (moment - past.at) / SECONDS_PER_DAY
    counts = sp.csr_array(
        (np.exp2(-age_days / HALF_LIFE_DAYS), (past.users, past.items)), shape=(users, items)
    )  # sums what stands at one place
    counts.data = np.minimum(np.sqrt(counts.data), STRONGEST)
    return counts.astype(np.float32)


def well_known(had_Un: sp.csr_array, profile: NeighboursProfile) -> npt.NDArray[np.intp]:
    """Items with the most users, of those with enough of them, ascending [K]."""
    users = np.bincount(had_Un.indices, minlength=had_Un.shape[1])
    known = np.argsort(-users, kind="stable")[: profile.items]
    return np.sort(known[users[known] >= profile.min_users])


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

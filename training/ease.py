"""EASE over the whole catalogue, as a baseline of evaluations.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019) inverts a matrix of items
by items, which no machine holds for a large catalogue; `training.neighbours` therefore learns it
for the items with the most users. Where users are few, their matrix can be inverted instead. With
`X` [U, n] what users have and `M = (XXᵀ + λI)⁻¹` [U, U], by Woodbury's identity the scores of the
users learned from are

    X B = X - (M X) diag(1 / p),    p = (1 - diag(Xᵀ M X)) / λ

and no weight of an item is left out. With the eigenvectors of `XXᵀ` every λ costs next to nothing
more, so the held-out last weeks may choose it.

Shapes: `U` users, `n` items of the catalogue, `L` regularizations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.sources import top_k
from training.actions import Actions, act_again, items_by_user
from training.metrics import ndcg_at
from training.neighbours import had_by_users

#: Users whose matrix is inverted, at most: its eigenvectors take 200 MB.
MOST_USERS: Final = 5_000
#: Regularizations to choose from.
REGULARIZATIONS: Final = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
#: The last days before the cut choose, by the NDCG@20 of so many users.
HELD_OUT_DAYS: Final = 28
ASKED: Final = 300

_K = 20
_BLOCK = 2048  # items at a time


class Ease:
    """Scores of every item for the users it was learned from."""

    def __init__(self, had_Un: sp.csr_array, inverse_UU: Float32, over_p_n: Float32) -> None:
        self._had, self._by_item = had_Un, had_Un.T.tocsr()
        self._inverse, self._over_p = inverse_UU, over_p_n

    def scores(self, user: int) -> Float32:
        """How much what a user has speaks for each item, float32 [n]; zeros for a stranger (-1)."""
        if user < 0:
            return np.zeros(len(self._over_p), dtype=np.float32)
        scores: Float32 = -(self._by_item @ self._inverse[user]) * self._over_p
        a, b = self._had.indptr[user : user + 2]
        scores[self._had.indices[a:b]] += self._had.data[a:b]
        return scores


class Tuned(NamedTuple):
    """EASE at the regularization that ranks all items best, and at the one for what is new."""

    of_all: Ease
    of_new: Ease


def tuned(targets: Actions, *, users: int, items: int, cut: float) -> Tuned:
    """Learn from the target actions before `cut` (epoch seconds); its last weeks choose λ."""
    before = cut - HELD_OUT_DAYS * SECONDS_PER_DAY
    relevant = items_by_user(targets.between(before, cut))
    asked = np.random.default_rng(0).permutation(sorted(relevant))[:ASKED].tolist()
    had = had_by_users(targets, users=users, items=items, moment=before)
    ndcg_L2 = np.array(
        [
            np.sum([_all_new(model.scores(u), relevant[u], _row(had, u)) for u in asked], axis=0)
            for model in learn(had, REGULARIZATIONS)
        ]
    )
    if not act_again(targets):
        ndcg_L2[:, 0] = ndcg_L2[:, 1]  # what a user had is in no list
    best = [REGULARIZATIONS[i] for i in np.argmax(ndcg_L2, axis=0)]
    return Tuned(*learn(had_by_users(targets, users=users, items=items, moment=cut), best))


def learn(had_Un: sp.csr_array, regularizations: Sequence[float]) -> list[Ease]:
    """EASE of what each user has of each item (float32), once for each regularization."""
    gram = torch.from_numpy((had_Un @ had_Un.T).toarray().astype(np.float64))
    values, vectors = (part.numpy() for part in torch.linalg.eigh(gram))
    inverses_LU = 1.0 / (np.maximum(values, 0.0)[None, :] + np.array(regularizations)[:, None])
    taken_Ln = _taken(had_Un.tocsc(), vectors.astype(np.float32), inverses_LU.astype(np.float32))
    free_Ln = np.maximum(1.0 - taken_Ln, np.finfo(np.float32).eps)
    return [
        Ease(had_Un, ((vectors * of_U) @ vectors.T).astype(np.float32), regularization / free_n)
        for regularization, of_U, free_n in zip(regularizations, inverses_LU, free_Ln, strict=True)
    ]


def _taken(had: sp.csc_array, vectors_UU: Float32, inverses_LU: Float32) -> Float32:
    """Diagonals of `Xᵀ M X`, float32 [L, n]. An item of one user needs no product."""
    owners = np.diff(had.indptr)
    taken = np.zeros((len(inverses_LU), had.shape[1]), dtype=np.float32)
    single, shared = np.flatnonzero(owners == 1), np.flatnonzero(owners > 1)
    user, much = had.indices[had.indptr[single]], had.data[had.indptr[single]]
    taken[:, single] = (inverses_LU @ (vectors_UU**2).T)[:, user] * much**2
    for first in range(0, len(shared), _BLOCK):
        items = shared[first : first + _BLOCK]
        along = _product(vectors_UU.T, had[:, items].toarray())
        taken[:, items] = inverses_LU @ along**2
    return taken


def _product(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> Float32:
    """Of two matrices by torch, whose threads do not depend on what NumPy is limited to."""
    product: Float32 = (torch.from_numpy(np.ascontiguousarray(a)) @ torch.from_numpy(b)).numpy()
    return product


def _row(had_Un: sp.csr_array, user: int) -> Int32:
    """Items that a user has, ascending or not."""
    a, b = had_Un.indptr[user : user + 2]
    items: Int32 = had_Un.indices[a:b]
    return items


def _all_new(scores_n: Float32, relevant: Int32, owned: Int32) -> tuple[float, float]:
    """NDCG of all items, and of those alone that the user does not have."""
    new = np.setdiff1d(relevant, owned)
    everything = _ndcg(scores_n, relevant)
    scores_n[owned] = -np.inf
    return everything, _ndcg(scores_n, new)


def _ndcg(scores_n: Float32, relevant: Int32) -> float:
    if not len(relevant):
        return 0.0
    return ndcg_at(np.isin(top_k(scores_n, _K), relevant), len(relevant), _K)

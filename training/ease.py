"""EASE over the whole catalogue, as a baseline of evaluations.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019) inverts a matrix of items
by items, which no machine holds for a large catalogue; `training.neighbours` therefore learns it
for the items with the most users. Where users are few, their matrix can be inverted instead. With
`X` [U, n] what users have and `M = (XXᵀ + λI)⁻¹` [U, U], by Woodbury's identity the scores of the
users learned from are

    X B = X - (M X) diag(1 / p),    p = (1 - diag(Xᵀ M X)) / λ

and no weight of an item is left out. With the eigenvectors of `XXᵀ` every λ costs next to nothing
more, so the held-out last weeks may choose it, together with how much popularity adds.

Shapes: `U` users, `n` items of the catalogue, `L` regularizations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from qianmian.distinct import distinct
from qianmian.features.item_table import Float32, Int32
from qianmian.retrieval.neighbours import POPULARITY_WEIGHT
from training.actions import Actions
from training.baselines import recent_users
from training.held_out import HeldOut
from training.user_items import had_by_users
from training.workers import by_all_cores, in_parts

#: Users whose matrix is decomposed, at most: about a gigabyte is taken meanwhile.
MOST_USERS: Final = 5_000
#: Regularizations to choose from, and what each unit of log1p(users in 28 days) adds to a score.
REGULARIZATIONS: Final = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
POPULARITY_WEIGHTS: Final = (0.03, POPULARITY_WEIGHT, 0.3, 1.0)
#: What holds where nothing happened that could choose.
DEFAULT: Final = (100.0, POPULARITY_WEIGHT)

Floating = npt.NDArray[np.floating]

_BLOCK = 2048  # items at a time
_AT_ONCE = 16  # users asked of


class Tuned(NamedTuple):
    """EASE as it ranks all items best, and as it ranks best what is new to a user."""

    of_all: WithPopularity
    of_new: WithPopularity


@dataclass(frozen=True, slots=True)
class WithPopularity:
    """EASE, and what popularity adds before anything is known of a user."""

    ease: Ease
    prior: Float32  # [n]

    def scores(self, user: int) -> Float32:
        """Scores of every item, float32 [n]; the prior alone for a stranger (-1)."""
        return self.ease.scores(user) + self.prior


class Ease:
    """Scores of every item for the users it was learned from."""

    def __init__(
        self, had: Had, regularization: float, taken_n: Float32, asked: Sequence[int] | None = None
    ) -> None:
        """`taken_n` is the diagonal of `Xᵀ M X`; what is not `asked` of has no scores."""
        self.regularization = regularization
        self._had = had
        of_values = 1.0 / (had.values + regularization)
        rows = had.rows[had.rows >= 0] if asked is None else _known(had.rows[list(asked)])
        inverse_RU = _product(had.vectors[rows] * of_values, had.vectors.T).astype(np.float32)
        self._inverse = dict(zip(rows.tolist(), inverse_RU, strict=True))
        self._over_p = regularization / np.maximum(1.0 - taken_n, np.finfo(np.float32).eps)

    def scores(self, user: int) -> Float32:
        """How much what a user has speaks for each item, float32 [n]; zeros for a stranger (-1)."""
        had = self._had
        row = had.rows[user] if user >= 0 else -1
        if row < 0:
            return np.zeros(had.items, dtype=np.float32)
        scores: Float32 = -(had.by_item @ self._inverse[row]) * self._over_p
        a, b = had.by_user.indptr[row : row + 2]
        scores[had.by_user.indices[a:b]] += had.by_user.data[a:b]
        return scores


class Had:
    """What each user has of each item, and the eigenvectors of `XXᵀ`: all that no λ changes.

    Users without anything take no part.
    """

    def __init__(self, had_Un: sp.csr_array) -> None:
        some = np.flatnonzero(np.diff(had_Un.indptr))
        self.items = had_Un.shape[1]
        self.rows = np.full(had_Un.shape[0], -1)
        self.rows[some] = np.arange(len(some))
        self.by_user = had_Un[some]
        self.by_item = self.by_user.T.tocsr()
        gram = torch.from_numpy((self.by_user @ self.by_user.T).toarray().astype(np.float64))
        values, vectors = torch.linalg.eigh(gram)
        self.values = np.maximum(values.numpy(), 0.0)
        self.vectors = vectors.numpy()  # [U, U], a column each

    def learned(
        self, regularizations: Sequence[float], asked: Sequence[int] | None = None
    ) -> Iterator[Ease]:
        """EASE at each regularization, for all users or those `asked` of.

        One after the other: each holds a row [U] for each of its users.
        """
        taken_Ln = self._taken(1.0 / (self.values + np.array(regularizations)[:, None]))
        pairs = zip(regularizations, taken_Ln, strict=True)
        return (Ease(self, regularization, taken_n, asked) for regularization, taken_n in pairs)

    def _taken(self, inverses_LU: npt.NDArray[np.float64]) -> Float32:
        """Diagonals of `Xᵀ M X`, float32 [L, n]. An item of one user needs no product."""
        inverses, vectors = inverses_LU.astype(np.float32), self.vectors.astype(np.float32)
        columns = self.by_user.tocsc()
        owners = np.diff(columns.indptr)
        taken = np.zeros((len(inverses), self.items), dtype=np.float32)
        single, shared = np.flatnonzero(owners == 1), np.flatnonzero(owners > 1)
        first_row = columns.indptr[single]
        of_user = inverses @ (vectors**2).T  # [L, U]
        taken[:, single] = of_user[:, columns.indices[first_row]] * columns.data[first_row] ** 2
        for first in range(0, len(shared), _BLOCK):
            items = shared[first : first + _BLOCK]
            taken[:, items] = inverses @ ((self.by_item[items] @ vectors) ** 2).T
        return taken


def tuned(
    targets: Actions, *, users: int, items: int, cut: float, ranked: Int32 | None = None
) -> Tuned:
    """Learn from the target actions before `cut` (epoch seconds).

    Its last weeks choose how, by lists of the `ranked` items.
    """
    held_out = HeldOut.of(targets, users=users, items=items, cut=cut, ranked=ranked)
    chosen = _chosen(held_out, targets)
    had = Had(had_by_users(targets, users=users, items=items, moment=cut))
    learned = had.learned([regularization for regularization, _ in chosen])
    popular = _popular(targets, items, cut)
    pairs = zip(learned, chosen, strict=True)
    return Tuned(*(WithPopularity(ease, weight * popular) for ease, (_, weight) in pairs))


Choice = tuple[float, float]  # regularization, weight of popularity


def _chosen(held_out: HeldOut, targets: Actions) -> tuple[Choice, Choice]:
    """What ranks the held-out weeks best: all of them, and what is new to the user."""
    if not held_out.asked:
        return DEFAULT, DEFAULT
    popular = _popular(targets, held_out.had.shape[1], held_out.moment)
    models = list(Had(held_out.had).learned(REGULARIZATIONS, held_out.asked))
    choices = [(model, weight) for model in models for weight in POPULARITY_WEIGHTS]

    def found(some: range) -> npt.NDArray[np.float64]:
        """NDCG of some users by every choice, of everything and of what is new, [C, 2]."""
        ndcg = np.zeros((len(choices), 2))
        for user in held_out.asked[some.start : some.stop]:
            spoken = {model: model.scores(user) for model in models}
            for at, (model, weight) in enumerate(choices):
                ndcg[at] += held_out.ndcg(user, spoken[model] + np.float32(weight) * popular)
        return ndcg

    ndcg_C2 = np.sum(list(by_all_cores(found, in_parts(len(held_out.asked), _AT_ONCE))), axis=0)

    def best(of: int) -> Choice:
        model, weight = choices[int(np.argmax(ndcg_C2[:, of]))]
        return (model.regularization, weight) if ndcg_C2[:, of].max() > 0.0 else DEFAULT

    return best(0), best(1)


def _popular(targets: Actions, items: int, moment: float) -> Float32:
    """log1p of the distinct users of each item in the four weeks before a moment, float32 [n]."""
    return np.log1p(recent_users(targets, items, moment)).astype(np.float32)


def _known(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return distinct(rows[rows >= 0])


def _product(a: Floating, b: Floating) -> Floating:
    """Of two matrices by torch, whose threads do not depend on what NumPy is limited to."""
    left, right = (torch.from_numpy(np.ascontiguousarray(side)) for side in (a, b))
    product: Floating = (left @ right).numpy()
    return product

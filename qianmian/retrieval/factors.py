"""Item factors: what everybody's past says of items, in few dimensions.

Weighted matrix factorization of implicit feedback (iALS: Hu, Koren and Volinsky, 2008);
`training.factors` learns the vectors of the items. A user has none of their own: where a user
stands among them is solved for at once from what the user acted on, so an order of a minute ago
counts, and a user nobody trained on is like any other (fold-in). Item neighbours know which two
items go together; factors know it of items that never met in a basket.

With `V` [F, K] the vectors of the items and `c` = 1 + CONFIDENCE log1p(decayed count) for each that
the user has, the user's vector solves

    (VᵀV + λI + Σ (c - 1) v vᵀ) u = Σ c v

Shapes: `n` items of the catalogue, `N` some of them, `F` items with factors, `K` width, `M` ledger
entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import Ledger
from qianmian.retrieval.neighbours import HALF_LIFE

#: What each unit of log1p(decayed count) adds to the confidence in an action.
CONFIDENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Factors:
    """Vectors of the items with the most users, and what solving for a user needs of them."""

    items: Int32  # [F], ascending
    vectors: Float32  # [F, K]
    regularization: float
    size: int  # n
    row: Int32 = field(init=False, repr=False)  # [n], of each item, F where it has no factors
    _gram: Float32 = field(init=False, repr=False)  # [K, K], VᵀV + λI
    _inverse: Float32 = field(init=False, repr=False)  # [K, K], of it

    def __post_init__(self) -> None:
        row = np.full(self.size, len(self.items), dtype=np.int32)
        row[self.items] = np.arange(len(self.items), dtype=np.int32)
        vectors = self.vectors.astype(np.float64)
        gram = vectors.T @ vectors + self.regularization * np.eye(vectors.shape[1])
        object.__setattr__(self, "row", row)
        object.__setattr__(self, "_gram", gram.astype(np.float32))
        object.__setattr__(self, "_inverse", np.linalg.inv(gram).astype(np.float32))

    @classmethod
    def none(cls, size: int) -> Factors:
        """No factors at all, for a catalogue of this size."""
        return cls(np.zeros(0, np.int32), np.zeros((0, 1), np.float32), 1.0, size)

    def scores(self, ledger: Ledger, items: Int32) -> Float32:
        """How much a user's past speaks for some items, float32 [N]; 0 of those without factors."""
        scores: Float32 = self.by_row(ledger)[self.row[items]]
        return scores

    def by_row(self, ledger: Ledger) -> Float32:
        """The same of all items with factors, in their order, and a 0 behind them, [F + 1]."""
        return np.append(self.vectors @ self.user(ledger), np.float32(0.0))

    def user(self, ledger: Ledger) -> Float32:
        """The user's vector, float32 [K]; zeros of one who has none of these items."""
        rows = self.row[ledger.items]
        held = rows < len(self.items)
        had = self.vectors[rows[held]]
        more = CONFIDENCE * np.log1p(ledger.decayed[held, HALF_LIFE])
        return self._solved(had, more.astype(np.float32))

    def _solved(self, had: Float32, more: Float32) -> Float32:
        """Conjugate gradients, preconditioned by what all users have in common.

        The sum over what a user has is never written out as a matrix: a few products of
        [M, K] are a quarter of the time of an exact solution.
        """
        solution = np.zeros(self.vectors.shape[1], dtype=np.float32)
        rest = had.T @ (1.0 + more)
        first = float(rest @ rest)
        if not first > 0.0:
            return solution
        direction = guess = self._inverse @ rest
        fit = float(rest @ guess)
        for _ in range(_STEPS):
            image = self._gram @ direction + had.T @ (more * (had @ direction))
            curvature = float(direction @ image)
            if not curvature > 0.0:  # vectors too small for single precision
                break
            step = np.float32(fit / curvature)
            solution += step * direction
            rest = rest - step * image
            if float(rest @ rest) <= _CLOSE * first:
                break
            guess = self._inverse @ rest
            fit, before = float(rest @ guess), fit
            direction = guess + np.float32(fit / before) * direction
        return solution

    def save(self, path: Path) -> None:
        """Write the factors as `.npz`."""
        np.savez(
            path,
            items=self.items,
            vectors=self.vectors,
            regularization=self.regularization,
            size=self.size,
        )

    @classmethod
    def load(cls, path: Path) -> Factors:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(
                items=arrays["items"],
                vectors=arrays["vectors"],
                regularization=float(arrays["regularization"]),
                size=int(arrays["size"]),
            )


_STEPS: Final = 16  # at most; about five are usual
_CLOSE: Final = 1e-8  # squared norm of what is left, against what there was

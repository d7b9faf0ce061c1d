"""What a two-tower score is held against: the scores that all known items have for the same user.

While the towers go on learning, the level and the spread of their products move from week to week.
That changes no order, but a ranker that reads last month's products would be misled by this
month's. So a score is told in standard deviations above a mean item, over all items that anybody
ever acted on, in the pool or not. Mean and variance of a product are a product of the mean vector
and a quadratic form of the covariance, so no other item's score is needed.

Shapes: `n` items of the catalogue, `D` vector width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float32


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """Mean and covariance of the item vectors."""

    mean: Float32 = field(repr=False)  # [D]
    covariance: Float32 = field(repr=False)  # [D, D]

    @classmethod
    def of(cls, vectors: Float32, known: npt.NDArray[np.bool_]) -> ScoreScale:
        """Of the `known` ones [n] of all vectors [n, D]; without any, products stay as they are."""
        width, chosen = vectors.shape[1], vectors[known]
        if not len(chosen):
            return cls(np.zeros(width, np.float32), np.zeros((width, width), np.float32))
        mean = chosen.mean(axis=0, dtype=np.float64).astype(np.float32)
        apart = chosen - mean
        return cls(mean, (apart.T @ apart) / np.float32(len(chosen)))

    def scores(self, users: Float32, vectors: Float32) -> Float32:
        """Scores of items [P, D] for users [..., D], float32 [..., P].

        A user for whom all known items are alike gets products against their mean alone.
        """
        scores: Float32 = users @ vectors.T
        scores -= (users @ self.mean)[..., None]
        variance = ((users @ self.covariance) * users).sum(axis=-1)
        spread = np.sqrt(np.maximum(variance, 0.0))
        scores /= np.where(spread > _LEAST, spread, 1.0)[..., None].astype(np.float32)
        return scores


_LEAST = 1e-6

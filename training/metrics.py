"""Ranking metrics of one user's list, and their means with bootstrap intervals over users.

Recall is capped: hits divided by the smaller of K and the number of relevant items, so a perfect
list scores 1 for every user; average precision is divided by the same number. NDCG uses binary
relevance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A number with the interval of its bootstrap."""

    value: float
    low: float
    high: float


def recall_at(hits: Bools, relevant: int, k: int) -> float:
    """Capped recall of a list whose first places are hits or not.

    >>> recall_at(np.array([True, False, True]), relevant=2, k=2)
    0.5
    """
    return float(hits[:k].sum() / min(k, relevant))


def ndcg_at(hits: Bools, relevant: int, k: int) -> float:
    """NDCG with gain 1 and discount log2(rank + 1), against the best list of length k.

    >>> round(ndcg_at(np.array([False, True]), relevant=1, k=2), 4)
    0.6309
    """
    gains = hits[:k] / np.log2(np.arange(2, min(k, len(hits)) + 2))
    best = (1.0 / np.log2(np.arange(2, min(k, relevant) + 2))).sum()
    return float(gains.sum() / best)


def reciprocal_rank_at(hits: Bools, k: int) -> float:
    """1 / place of the first hit among the first k, 0 without any.

    >>> reciprocal_rank_at(np.array([False, True]), k=2)
    0.5
    """
    places = np.flatnonzero(hits[:k])
    return float(1.0 / (places[0] + 1)) if len(places) else 0.0


def average_precision_at(hits: Bools, relevant: int, k: int) -> float:
    """Sum of the precision at each hit among the first k, divided by min(k, relevant).

    >>> average_precision_at(np.array([True, False, True]), relevant=2, k=3)
    0.8333333333333333
    """
    places = np.flatnonzero(hits[:k])
    precision = np.arange(1, len(places) + 1) / (places + 1)
    return float(precision.sum() / min(k, relevant))


@dataclass(frozen=True, slots=True)
class Resampled:
    """Users drawn again and again with replacement, for intervals of means over them."""

    counts: npt.NDArray[np.uint16]  # [samples, S] how often each user is drawn

    @classmethod
    def draw(cls, users: int, rng: np.random.Generator, *, samples: int = 1000) -> Resampled:
        """Draw as many of the users, `samples` times."""
        counts = np.empty((samples, users), dtype=np.uint16)
        share = np.full(users, 1 / users)
        for sample in counts:
            sample[:] = rng.multinomial(users, share)
        return cls(counts)

    def interval(self, values: Floats, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of the mean of each user's value."""
        low, high = interval_of(self._sums(values) / len(values), level)
        return low, high

    def ratio(self, ours: Floats, theirs: Floats, level: float = 0.95) -> Interval:
        """Ratio of two means over the same users, each draw taking users for both sides.

        Infinite where the other side's mean is 0.
        """
        low, high = interval_of(divided(self._sums(ours), self._sums(theirs)), level)
        return Interval(float(divided(ours.sum(), theirs.sum())), low, high)

    def _sums(self, values: Floats) -> Floats:
        """Sum of the values over each draw, [samples]; a few draws at a time are made floats."""
        sums = [part.astype(np.float64) @ values for part in np.array_split(self.counts, _PARTS)]
        return np.concatenate(sums)


_PARTS: Final = 50


def divided(over: npt.ArrayLike, under: npt.ArrayLike) -> Floats:
    """`over / under`, infinite where there is nothing to divide by."""
    over, under = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    ratio: Floats = np.divide(over, under, out=np.full(over.shape, np.inf), where=under > 0)
    return ratio


def interval_of(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of some draws; infinite ones may be among them."""
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(values, ends, method="inverted_cdf")  # infinity needs no arithmetic
    return float(low), float(high)

"""Ranking metrics of one user's list, and their means with bootstrap intervals over users.

Recall is capped: hits divided by the smaller of K and the number of relevant items, so a perfect
list scores 1 for every user. NDCG uses binary relevance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


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


def bootstrap_interval(
    values: Sequence[float], rng: np.random.Generator, *, samples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean over resampled users."""
    data = np.asarray(values, dtype=np.float64)
    counts = rng.multinomial(len(data), np.full(len(data), 1 / len(data)), size=samples)
    means = counts @ data / len(data)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

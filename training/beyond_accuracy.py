"""What a system's lists are like as a whole: coverage, concentration, novelty and diversity.

Shapes: `n` catalogue items, `A` attributes, `k` places of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Int32


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What an evaluation needs to know of the items."""

    ranked: Int32  # items that may stand in a list
    owners: npt.NDArray[np.int64]  # [n] users who acted on each item before the cut
    users: int  # users with any action before the cut
    attributes: Int32  # [n, A] codes, 0 unknown; A may be 0
    again: bool = True  # whether users act on an item again


@dataclass(slots=True)
class ListProfile:
    """Gathers the first k places of many lists."""

    catalogue: Catalogue
    k: int
    _shown: npt.NDArray[np.int64] = field(init=False, repr=False)
    _novelty: list[float] = field(default_factory=list, init=False)
    _diversity: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._shown = np.zeros(len(self.catalogue.owners), dtype=np.int64)

    def add(self, items: Int32) -> None:
        """One list, best first."""
        first = items[: self.k]
        if not len(first):
            return
        self._shown[first] += 1
        share = (self.catalogue.owners[first] + 1) / (self.catalogue.users + 1)
        self._novelty.append(float(-np.log2(share).mean()))
        if self.catalogue.attributes.shape[1] and len(first) > 1:
            self._diversity.append(_diversity(self.catalogue.attributes[first]))

    def summary(self) -> dict[str, float | None]:
        """The measures by name.

        - `coverage`: share of the items that stand in at least one list
        - `gini`: of how often each item stands in a list; 0 all alike, 1 one item alone
        - `novelty`: mean of -log2 of the share of users who acted on an item before (Zhou et al.,
          "Solving the apparent diversity-accuracy dilemma of recommender systems", 2010)
        - `diversity`: mean over pairs of a list of the share of attributes that differ; None where
          the items have no attributes
        """
        shown = self._shown[self.catalogue.ranked]
        return {
            "coverage": float((shown > 0).mean()) if len(shown) else 0.0,
            "gini": gini(shown),
            "novelty": float(np.mean(self._novelty)) if self._novelty else 0.0,
            "diversity": float(np.mean(self._diversity)) if self._diversity else None,
        }


def gini(counts: npt.NDArray[np.integer]) -> float:
    """Gini coefficient of counts.

    >>> gini(np.array([1, 1, 1, 1]))
    0.0
    >>> gini(np.array([0, 0, 0, 4]))
    0.75
    """
    total, size = float(counts.sum()), len(counts)
    if not total:
        return 0.0
    ascending = np.sort(counts)
    ranks = np.arange(1, size + 1)
    return float(((2 * ranks - size - 1) * ascending).sum() / (size * total))


def _diversity(codes_kA: Int32) -> float:
    differs = (codes_kA[:, None, :] != codes_kA[None, :, :]).mean(axis=2)
    size = len(codes_kA)
    return float(differs.sum() / (size * (size - 1)))

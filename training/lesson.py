"""What labelled groups teach: pages whatever came of pages, proposals the rest.

Shapes: `B` groups, `R` rows of all groups, `A` actions, `H` heads (`A`, or one more: the target
on a page), `P` places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float64
from training.places import examination
from training.proposals import Examples

_TOLD_PLACES: Final = (1, 2, 3, 5, 10, 20)


def with_target_on_page(examples: Examples, target: int) -> Examples:
    """Labels of one more head, [R, H], where pages tell of the target; else the examples."""
    rows = np.repeat(examples.shown, np.diff(examples.starts))
    if not examples.labels[rows, target].any():
        return examples
    more = examples.labels[:, target : target + 1]
    return replace(examples, labels=np.concatenate([examples.labels, more], axis=1))


@dataclass(frozen=True, slots=True)
class Lesson:
    """Which groups teach which head: pages whatever came of pages, proposals the rest."""

    target: int
    by_pages: npt.NDArray[np.bool_]  # [H] whether shown groups teach it, and they alone
    chance: npt.NDArray[np.float64]  # [P + 1, H], that a place is examined; empty without pages

    @classmethod
    def of(cls, examples: Examples, target: int, *, places: int) -> Lesson:
        """See what came of the pages; without pages, proposals teach everything."""
        rows = np.repeat(examples.shown, np.diff(examples.starts))
        by_pages: npt.NDArray[np.bool_] = np.any(examples.labels[rows] > 0, axis=0)
        by_pages[target] = False  # what was never shown cannot be clicked, but bought
        furthest = min(places, int(examples.positions.max(initial=0)))
        chance = np.zeros((0, len(by_pages)))
        if by_pages.any() and furthest:
            chance = examination(
                examples.features[rows],
                examples.labels[rows],
                examples.weights[rows],
                examples.positions[rows],
                places=furthest,
            )
        return cls(target, by_pages, chance)

    def prior(self, examples: Examples, pages: float) -> Float64:
        """Price of the variance of what a head adds to the target, [H].

        As heavy as what that many pages tell of a logit, `p (1 - p)` a shown item (Fisher), against
        the pages there are.
        """
        rows = np.repeat(examples.shown, np.diff(examples.starts))
        rate = examples.labels[rows].mean(axis=0) if rows.any() else np.zeros(len(self.by_pages))
        price: Float64 = 0.5 * rate * (1.0 - rate) * pages / max(int(examples.shown.sum()), 1)
        return price

    def teaches(self, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which heads each group teaches, bool [B, H]."""
        return np.where(shown[:, None], self.by_pages, ~self.by_pages)

    def weights(self, examples: Examples) -> Float64:
        """How much each row says of each head, [R, H]; 0 where its group teaches another."""
        sizes = np.diff(examples.starts)
        taught = np.repeat(self.teaches(examples.shown), sizes, axis=0)
        weights: Float64 = examples.weights[:, None].astype(np.float64) * taught
        return weights

    def chances(self, examples: Examples) -> Float64:
        """That the place of each row is examined, [R, H]; 1 for what was proposed."""
        if not len(self.chance):
            return np.ones((len(examples.weights), len(self.by_pages)))
        examined: Float64 = self.chance[np.minimum(examples.positions, len(self.chance) - 1)]
        return examined

    def told(self) -> str:
        """How much less is done in later places, for the first action that pages teach."""
        chance = self.chance[:, int(np.flatnonzero(self.by_pages)[0])]
        chosen = [place for place in _TOLD_PLACES if place < len(chance)]
        told = ", ".join(f"{place}: {chance[place]:.2f}" for place in chosen)
        return f"ranker: chance of an action by place, against the first: {told}"

"""How simulated shoppers look at a page: a position-based click model, with assumed numbers.

A place is examined with a probability that falls with the position; an examined item is clicked
with a probability that grows with the shopper's utility; a clicked one is put in the cart, and a
carted one ordered, more likely the more it is wanted. The shape follows the position-based model
(Chuklin, Markov and de Rijke, Click Models for Web Search, 2015). The data holds no impressions, so
the rates are assumptions; only the order of what is wanted comes from real orders.

Shapes: `N` items of a page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.simulator.taste import Float64

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ClickModel:
    """Assumed rates; `offset` places utilities so that a typical item has the rate."""

    examination: float = 0.6  # position p is examined with probability p ** -examination
    click_rate: float = 0.15  # of an examined item that is wanted as much as the median
    cart_rate: float = 0.35  # of a clicked one
    order_rate: float = 0.6  # of a carted one
    share_rate: float = 0.01  # of a clicked one
    steepness: float = 0.7  # of clicks in the utility
    offset: float = 0.0

    def examined(self, positions: npt.NDArray[np.integer]) -> Float64:
        """Probability that a place is looked at, [N]; positions count from 1."""
        chance: Float64 = np.maximum(positions, 1).astype(np.float64) ** -self.examination
        return chance

    def attractive(self, utilities: Float64) -> Float64:
        """Probability of a click on an examined item, [N]."""
        return _sigmoid(_log_odds(self.click_rate) + self.steepness * (utilities - self.offset))

    def react(
        self,
        utilities: Float64,
        positions: npt.NDArray[np.integer],
        rng: np.random.Generator,
    ) -> tuple[Bool, Bool, Bool, Bool]:
        """Which items are clicked, carted, ordered and shared, bool [N] each."""
        size = len(utilities)
        wanted = 0.5 * self.steepness * (utilities - self.offset)
        seen = rng.random(size) < self.examined(positions)
        clicked = seen & (rng.random(size) < self.attractive(utilities))
        carted = clicked & (rng.random(size) < _sigmoid(_log_odds(self.cart_rate) + wanted))
        ordered = carted & (rng.random(size) < _sigmoid(_log_odds(self.order_rate) + wanted))
        shared = clicked & (rng.random(size) < self.share_rate)
        return clicked, carted, ordered, shared


def _sigmoid(x: Float64) -> Float64:
    value: Float64 = 1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))
    return value


def _log_odds(p: float) -> float:
    return float(np.log(p / (1.0 - p)))

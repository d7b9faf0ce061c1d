"""Item neighbours: how much having one item speaks for another.

The weights are those of a linear autoencoder, learned in closed form (EASE: Steck, 2019) and cut to
each item's strongest ones; `training.neighbours` learns them. A user's score for an item is the sum
over what the user acted on, so a co-purchase that no vector is wide enough to hold still counts.

Shapes: `n` items of the catalogue, `E` kept weights, `M` ledger entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.user_state import Ledger

#: Half-life of the actions that count, in days: the strongest single one on retail data.
HALF_LIFE_DAYS: Final = 84
#: Its place among the decayed counts of a ledger.
HALF_LIFE: Final = f.LEDGER_HALF_LIVES_DAYS.index(HALF_LIFE_DAYS)
#: A user's own weight of an item is the square root of its decayed count, at most this.
STRONGEST: Final = 3.0
#: What the popularity of an item adds to its score, for each unit of log1p(users in 28 days).
POPULARITY_WEIGHT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Weights from items that a user has to items that may be shown, row after row."""

    starts: npt.NDArray[np.int64]  # [n + 1] first weight of each item that a user may have
    items: Int32  # [E] the item it speaks for
    weights: Float32  # [E]

    @classmethod
    def none(cls, items: int) -> Neighbours:
        """No weights at all, for a catalogue of this size."""
        return cls(np.zeros(items + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def scores(self, ledger: Ledger) -> Float32:
        """How much a user's past speaks for each item, float32 [n]; 0 where it says nothing."""
        strength = np.minimum(np.sqrt(ledger.decayed[:, HALF_LIFE]), STRONGEST)
        first, last = self.starts[ledger.items], self.starts[ledger.items + 1]
        counts = last - first
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(last - ends, counts)
        spoken = self.weights[places] * np.repeat(strength, counts)
        sums = np.bincount(self.items[places], weights=spoken, minlength=len(self.starts) - 1)
        return sums.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the weights as `.npz`."""
        np.savez(path, starts=self.starts, items=self.items, weights=self.weights)

    @classmethod
    def load(cls, path: Path) -> Neighbours:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**arrays)


def popularity_prior(table: ItemTable) -> Float32:
    """What popularity adds to an item's score before anything is known of a user, float32 [n]."""
    users = np.maximum(table.statistic(f.target_users(28)), 0.0)
    prior: Float32 = (POPULARITY_WEIGHT * np.log1p(users)).astype(np.float32)
    return prior

"""A user's memory: the items acted on last, each once. What the ranker asks about a candidate.

Recent actions of any kind reach back a few visits; the ledger reaches back to the first, and knows
the target action alone. The memory holds the newest action on an item, whichever tells of it.

Shapes: `M` remembered items.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from qianmian.features.encoding import log_days
from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import UserState

MEMORY_LENGTH: Final = 128
MEMORY_ITEMS: Final = "memory_items"  # int64 [B, M], item index + 1, 0 padding
MEMORY_DAYS: Final = "memory_days"  # float32 [B, M], log1p of days before now


class Memory(NamedTuple):
    """The items acted on last, newest first, at most `MEMORY_LENGTH` of them."""

    items: Int32  # [M] item numbers: index in the catalogue + 1, 0 padding
    days: Float32  # [M] log1p of days since the last action on each

    @classmethod
    def of(cls, user: UserState, now: float) -> Memory:
        """What a user remembers at `now` (epoch seconds)."""
        ledger = user.ledger  # newest last action first
        items = np.concatenate([user.recent_items, ledger.items[:MEMORY_LENGTH]])
        at = np.concatenate([user.recent_at, ledger.last_at[:MEMORY_LENGTH]])
        newest = np.argsort(-at, kind="stable")
        _, first = np.unique(items[newest], return_index=True)
        kept = newest[np.sort(first)[:MEMORY_LENGTH]]
        memory = cls(np.zeros(MEMORY_LENGTH, np.int32), np.zeros(MEMORY_LENGTH, np.float32))
        memory.items[: len(kept)] = items[kept] + 1
        memory.days[: len(kept)] = log_days(now - at[kept])
        return memory

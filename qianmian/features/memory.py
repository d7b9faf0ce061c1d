"""A user's memory: the items acted on last, each once. What the ranker asks about a candidate.

Recent actions of any kind reach back a few visits; the ledger reaches back to the first, and knows
the target action alone. The memory holds when the newest action on an item was, whichever tells of
it, and its type; an item with the target action behind it is HAD, whatever came last.

Shapes: `G` users or pages, `M` remembered items.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from qianmian.contracts.events import EVENT_CODE
from qianmian.features.encoding import log_days
from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import UserState

MEMORY_LENGTH: Final = 128
MEMORY_ITEMS: Final = "memory_items"  # int64 [B, M], item index + 1, 0 padding
MEMORY_DAYS: Final = "memory_days"  # float32 [B, M], log1p of days before now
MEMORY_TYPES: Final = "memory_types"  # int64 [B, M], event code or HAD, 0 padding
HAD: Final = len(EVENT_CODE) + 1  # what the user did the target action on, whatever came after it
TYPES: Final = HAD + 1  # numbers that a type may be


class Memory(NamedTuple):
    """The items acted on last, newest first, at most `MEMORY_LENGTH` of them; or of many users."""

    items: Int32  # [M] or [G, M] item numbers: index in the catalogue + 1, 0 padding
    days: Float32  # the same, log1p of days since the last action on each
    types: Int32  # the same, event code of the last action on each, or HAD; 0 padding

    @classmethod
    def of(cls, user: UserState, now: float) -> Memory:
        """What a user remembers at `now` (epoch seconds)."""
        ledger = user.ledger  # newest last action first
        items = np.concatenate([user.recent_items, ledger.items[:MEMORY_LENGTH]])
        at = np.concatenate([user.recent_at, ledger.last_at[:MEMORY_LENGTH]])
        of_ledger = np.full(len(items) - len(user.recent_items), HAD, dtype=np.int32)
        had = np.isin(user.recent_items, ledger.items)
        types = np.concatenate([np.where(had, HAD, user.recent_codes), of_ledger])
        newest = np.argsort(-at, kind="stable")
        _, first = np.unique(items[newest], return_index=True)
        kept = newest[np.sort(first)[:MEMORY_LENGTH]]
        memory = cls(
            items=np.zeros(MEMORY_LENGTH, dtype=np.int32),
            days=np.zeros(MEMORY_LENGTH, dtype=np.float32),
            types=np.zeros(MEMORY_LENGTH, dtype=np.int32),
        )
        memory.items[: len(kept)] = items[kept] + 1
        memory.days[: len(kept)] = log_days(now - at[kept])
        memory.types[: len(kept)] = types[kept]
        return memory

    @classmethod
    def stack(cls, memories: Iterable[Memory]) -> Memory:
        """Of many users, [G, M]."""
        return cls(*(np.stack(side) for side in zip(*memories, strict=True)))

    @classmethod
    def join(cls, parts: Iterable[Memory]) -> Memory:
        """Those of several parts, one after the other."""
        return cls(*(np.concatenate(side) for side in zip(*parts, strict=True)))

    def take(self, rows: npt.NDArray[np.generic]) -> Memory:
        """Those at these rows (indices or a mask)."""
        return Memory(*(side[rows] for side in self))

    def inputs(self) -> dict[str, npt.NDArray[np.generic]]:
        """What the ranker's graph is given of many users."""
        return {
            MEMORY_ITEMS: self.items.astype(np.int64),
            MEMORY_DAYS: self.days,
            MEMORY_TYPES: self.types.astype(np.int64),
        }

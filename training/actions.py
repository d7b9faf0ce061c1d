"""Actions of one type as parallel arrays: what users did, in order of time.

Shapes: `E` actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qianmian.distinct import distinct
from qianmian.features.item_table import Int32


@dataclass(frozen=True, slots=True)
class Actions:
    """Actions of one type, in order of time, over user ids' codes and item indices."""

    users: Int32  # [E] code into History.user_ids
    items: Int32  # [E] item index
    at: npt.NDArray[np.float64]  # [E] epoch seconds

    def between(self, start: float, end: float) -> Actions:
        """Actions with start <= at < end."""
        a, b = np.searchsorted(self.at, [start, end], side="left")
        return Actions(self.users[a:b], self.items[a:b], self.at[a:b])

    def on(self, items: Int32, *, of: int) -> Actions:
        """The actions on some of the catalogue's `of` items."""
        wanted = np.zeros(of, dtype=np.bool_)
        wanted[items] = True
        kept = wanted[self.items]
        return Actions(self.users[kept], self.items[kept], self.at[kept])


def act_again(actions: Actions) -> bool:
    """Whether users act on an item again, later: at least one action in a hundred is such.

    Nobody buys the same film twice, everybody the same milk.
    """
    order = np.lexsort((actions.at, actions.items, actions.users))
    users, items, at = (side[order] for side in (actions.users, actions.items, actions.at))
    later = (np.diff(users) == 0) & (np.diff(items) == 0) & (np.diff(at) > 0)
    return 100 * int(later.sum()) >= max(len(at), 1)


def items_by_user(actions: Actions) -> dict[int, Int32]:
    """Distinct items of each user, ascending, by user code."""
    keys = (actions.users.astype(np.int64) << 32) + (actions.items.astype(np.int64) + _OFFSET)
    keys = distinct(keys)
    if not len(keys):
        return {}
    codes, first = np.unique(keys >> 32, return_index=True)
    items = ((keys & 0xFFFFFFFF) - _OFFSET).astype(np.int32)
    return dict(zip(codes.tolist(), np.split(items, first[1:]), strict=True))


_OFFSET = 1 << 31  # keeps negative item numbers in order within their user's block of keys

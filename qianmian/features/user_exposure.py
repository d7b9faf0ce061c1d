"""User exposure: what was shown to a user lately and how often in vain, and what the user dislikes.

What a page's rules read to let an item rest that was shown too often, and to keep a disliked one
away. A row for each user with an impression or a dislike, ever; its lists may be empty. Any action
on an item (a click, a cart, an order, ...) starts its count anew and takes a dislike back.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.distinct import distinct
from qianmian.features.columns import DataType, table_of
from qianmian.features.event_log import SECONDS_PER_DAY, EventLog, is_action
from qianmian.features.segments import Float64, Int32, Int64, Runs, leading, lists, offsets_of

USER_EXPOSURE_TYPES: Final = {
    f.EXPOSED_ITEM_IDS: DataType.STRINGS,
    f.EXPOSED_COUNTS: DataType.INT64S,
    f.EXPOSED_AT: DataType.FLOAT64S,
    f.DISLIKED_ITEM_IDS: DataType.STRINGS,
    f.DISLIKED_AT: DataType.FLOAT64S,
}


def user_exposure(log: EventLog, as_of: float) -> pa.Table:
    """Exposure of each user as of `as_of` (epoch seconds).

    - `exposed_*`, parallel: items shown in the last 28 days, the last shown first, items of one
      moment by id; `exposed_counts` are the times shown in these days since the last action on the
      item, 0 where the last thing was an action
    - `disliked_*`, parallel: items disliked and not acted on since, the last disliked first
    """
    events = log.before(as_of)
    users = distinct(events.user[np.isin(events.kind, _PASSIVE)])
    # Imported data mostly has neither kind: spare the sort.
    events = log.by_user_item.before(as_of) if len(users) else events.take(slice(0))
    pairs = Runs.of(events.user, events.item)
    shown = events.kind == EVENT_CODE[EventType.IMPRESSION]
    acted_at = pairs.maximum(np.where(is_action(events), events.at, -np.inf))
    disliked = events.kind == EVENT_CODE[EventType.DISLIKE]
    disliked_at = pairs.maximum(np.where(disliked, events.at, -np.inf))
    shown &= events.at >= as_of - f.EXPOSURE_DAYS * SECONDS_PER_DAY
    shown_at = pairs.maximum(np.where(shown, events.at, -np.inf))
    in_vain = pairs.sum((shown & (events.at > acted_at[pairs.of_row])).astype(float))

    user, item = events.user[pairs.starts], events.item[pairs.starts]
    exposed = _newest(user, item, shown_at, np.isfinite(shown_at), f.EXPOSURE_LENGTH)
    refused = _newest(user, item, disliked_at, disliked_at > acted_at, f.DISLIKED_LENGTH)

    def listed(rows: Int64, values: pa.Array) -> pa.ListArray:
        return lists(_offsets(user[rows], users), values)

    columns = {
        f.EXPOSED_ITEM_IDS: listed(exposed, log.items.take(pa.array(item[exposed]))),
        f.EXPOSED_COUNTS: listed(exposed, pa.array(in_vain[exposed].astype(np.int64))),
        f.EXPOSED_AT: listed(exposed, pa.array(shown_at[exposed])),
        f.DISLIKED_ITEM_IDS: listed(refused, log.items.take(pa.array(item[refused]))),
        f.DISLIKED_AT: listed(refused, pa.array(disliked_at[refused])),
    }
    return table_of(c.USER_ID, log.users.take(pa.array(users)), columns, USER_EXPOSURE_TYPES)


_PASSIVE: Final = [EVENT_CODE[EventType.IMPRESSION], EVENT_CODE[EventType.DISLIKE]]


def _newest(
    user: Int32, item: Int32, at: Float64, kept: npt.NDArray[np.bool_], limit: int
) -> Int64:
    """Pairs that are kept, by user, the newest first, at most `limit` a user: positions [m]."""
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((item[rows], -at[rows], user[rows]))]
    return rows[leading(Runs.of(user[rows]), limit)[0]]


def _offsets(owners: Int32, users: Int32) -> Int32:
    """List offsets over rows whose owners ascend, one list for each of `users`."""
    return offsets_of(np.bincount(np.searchsorted(users, owners), minlength=len(users)))

"""User sequence: a user's last actions, newest first; for the two-tower model and the memory.

A row for each user with at least one action. Impressions are left out: they are done to the user.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.columns import DataType, table_of
from qianmian.features.event_log import EventLog
from qianmian.features.segments import Runs, lists, newest_first

USER_SEQUENCE_TYPES: Final = {
    f.RECENT_ITEM_IDS: DataType.STRINGS,
    f.RECENT_EVENT_CODES: DataType.INT64S,
    f.RECENT_AT: DataType.FLOAT64S,
}


def user_sequence(log: EventLog, as_of: float) -> pa.Table:
    """The last `SEQUENCE_LENGTH` actions of each user before `as_of` (epoch seconds).

    The three lists of a row are parallel. Actions of one moment stand in falling order of their
    item id, whatever the order in which they arrived.
    """
    actions = log.actions_by_user.before(as_of)
    runs = Runs.of(actions.user)
    rows, offsets = newest_first(runs, f.SEQUENCE_LENGTH)
    columns = {
        f.RECENT_ITEM_IDS: lists(offsets, log.items.take(pa.array(actions.item[rows]))),
        f.RECENT_EVENT_CODES: lists(offsets, pa.array(actions.kind[rows].astype(np.int64))),
        f.RECENT_AT: lists(offsets, pa.array(actions.at[rows])),
    }
    ids = log.users.take(pa.array(actions.user[runs.starts]))
    return table_of(c.USER_ID, ids, columns, USER_SEQUENCE_TYPES)

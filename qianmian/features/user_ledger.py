"""User ledger: every item a user did the target action on, summed up; for repeats and the memory.

A row for each user with at least one target action. An entry counts *visits* with the item, not
lines: two lines of one basket are one purchase. Decayed counts halve every half-life, the form in
which personal frequency predicts best (12 weeks on Complete Journey); they refer to
`ledger_as_of` and can be carried forward by `0.5 ** (elapsed / half_life)`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.columns import DataType, table_of
from qianmian.features.event_log import SECONDS_PER_DAY, EventLog
from qianmian.features.segments import Float64, Int32, Int64, Runs, leading, lists

USER_LEDGER_TYPES: Final = {
    f.LEDGER_AS_OF: DataType.FLOAT64,
    f.LEDGER_ITEM_IDS: DataType.STRINGS,
    f.LEDGER_COUNTS: DataType.FLOAT32S,
    f.LEDGER_QUANTITIES: DataType.FLOAT32S,
    f.LEDGER_FIRST_AT: DataType.FLOAT64S,
    f.LEDGER_LAST_AT: DataType.FLOAT64S,
    f.LEDGER_VISITS: DataType.INT64S,
    **{f.ledger_decayed(days): DataType.FLOAT32S for days in f.LEDGER_HALF_LIVES_DAYS},
}


def user_ledger(log: EventLog, as_of: float) -> pa.Table:
    """The ledger of each user as of `as_of` (epoch seconds).

    Lists of a row are parallel: newest last action first, items of one moment by id, at most
    `LEDGER_LENGTH` entries.
    """
    targets = log.targets_by_user_item.before(as_of)
    visits = Runs.of(targets.user, targets.item, targets.session)
    owner, item = targets.user[visits.starts], targets.item[visits.starts]
    entries = Runs.of(owner, item)  # runs of visits
    visit_at = targets.at[visits.ends - 1]
    quantity = visits.sum(targets.quantity)
    first_at = entries.minimum(targets.at[visits.starts])
    last_at = entries.maximum(visit_at)
    bits = _visit_bits(owner, targets.session[visits.starts], visit_at)
    held = np.bitwise_or.reduceat(bits, entries.starts) if len(entries) else bits
    entry_user, entry_item = owner[entries.starts], item[entries.starts]

    order = np.lexsort((entry_item, -last_at, entry_user))
    users = Runs.of(entry_user[order])
    kept, offsets = leading(users, f.LEDGER_LENGTH)
    rows = order[kept]
    days = (as_of - visit_at) / SECONDS_PER_DAY

    def entry(values: Float64) -> pa.ListArray:
        return lists(offsets, pa.array(values[rows]))

    columns = {
        f.LEDGER_AS_OF: np.full(len(users), as_of),
        f.LEDGER_ITEM_IDS: lists(offsets, log.items.take(pa.array(entry_item[rows]))),
        f.LEDGER_COUNTS: entry(entries.lengths.astype(float)),
        f.LEDGER_QUANTITIES: entry(entries.sum(quantity)),
        f.LEDGER_FIRST_AT: entry(first_at),
        f.LEDGER_LAST_AT: entry(last_at),
        f.LEDGER_VISITS: lists(offsets, pa.array(held[rows])),
        **{
            f.ledger_decayed(half_life): entry(entries.sum(np.exp2(-days / half_life)))
            for half_life in f.LEDGER_HALF_LIVES_DAYS
        },
    }
    ids = log.users.take(pa.array(entry_user[order][users.starts]))
    return table_of(c.USER_ID, ids, columns, USER_LEDGER_TYPES)


def _visit_bits(user: Int32, session: Int32, at: Float64) -> Int64:
    """Bit of each row's visit, counted back from the user's last one, int64 [n]; 0 for old ones.

    Visits that ended at the same moment count as one, so the order of ids does not matter.
    """
    order = np.lexsort((session, user))
    visits = Runs.of(user[order], session[order])
    ended, visitor = visits.maximum(at[order]), user[order][visits.starts]
    newest = np.lexsort((-ended, visitor))
    users, moments = Runs.of(visitor[newest]), Runs.of(visitor[newest], ended[newest])
    back = np.empty(len(visits), dtype=np.int64)
    back[newest] = moments.of_row - moments.of_row[users.starts][users.of_row]
    ago = np.empty(len(user), dtype=np.int64)
    ago[order] = back[visits.of_row]
    kept = ago < f.LEDGER_VISITS_KEPT
    bits: Int64 = np.left_shift(np.int64(1), np.where(kept, ago, 0)) * kept
    return bits

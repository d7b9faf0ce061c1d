"""User activity: how often, how recently and for how much a user acts, by window.

A row for each user with at least one action (impressions are not actions). Windows are
`[as_of - days, as_of)`. Money is taken from orders alone; where the data has none, the fields of
money are 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.features.columns import DataType, table_of
from qianmian.features.event_log import SECONDS_PER_DAY, EventLog, Events, has_price
from qianmian.features.segments import Float64, Int32, Runs, counts

#: Window of the discount share and of the coupons, in days.
MONEY_WINDOW_DAYS: Final = 91

USER_ACTIVITY_TYPES: Final = {
    **dict.fromkeys(f.USER_ACTIVITY_TIMES, DataType.FLOAT64),
    **dict.fromkeys(f.USER_ACTIVITY_NUMERIC, DataType.FLOAT32),
}


def user_activity(log: EventLog, as_of: float) -> pa.Table:
    """Activity of each user as of `as_of` (epoch seconds): one row a user, fields of the contract.

    - `target_count_*`: target actions; `session_count_*`: distinct visits with any action
    - `spend_*`: sum of what was paid for orders
    - `repeat_share`: 1 - distinct items / target actions, over all history
    - `mean_price`: mean over order lines of paid / quantity, all history
    - `discount_share`: 1 - sum(paid) / sum(list price), 91 days, not below 0
    - `session_gap_days`: (last active day - first) / (active days - 1); 0 with one active day
    """
    actions = log.actions_by_user.before(as_of)
    runs = Runs.of(actions.user)
    age = (as_of - actions.at) / SECONDS_PER_DAY
    target = actions.kind == EVENT_CODE[log.target]
    priced = has_price(actions)
    paid = np.where(priced, actions.value, 0.0)
    columns: dict[str, Float64] = {
        f.FIRST_ACTION_AT: actions.at[runs.starts],
        f.LAST_ACTION_AT: actions.at[runs.ends - 1],
        f.LAST_TARGET_AT: runs.maximum(np.where(target, actions.at, 0.0)),
    }
    visits = _Visits(actions, runs)
    users = actions.user[runs.starts]
    for days in f.WINDOWS_DAYS:
        inside = age <= days
        columns[f.target_count(days)] = runs.sum((target & inside).astype(float))
        columns[f.session_count(days)] = visits.count(as_of - days * SECONDS_PER_DAY)
        columns[f.spend(days)] = runs.sum(np.where(inside, paid, 0.0))
    count = runs.sum(target.astype(float))
    distinct = _distinct_items(log, as_of, users)
    recent = priced & (age <= MONEY_WINDOW_DAYS)
    coupons = (actions.kind == EVENT_CODE[EventType.COUPON]) & (age <= MONEY_WINDOW_DAYS)
    unit_price = np.divide(paid, actions.quantity, out=np.zeros(len(paid)), where=priced)
    columns |= {
        f.TARGET_COUNT_TOTAL: count,
        f.DISTINCT_ITEMS: distinct,
        f.REPEAT_SHARE: 1.0 - ratio(distinct, count, empty=1.0),
        f.MEAN_PRICE: ratio(runs.sum(unit_price), runs.sum(priced.astype(float))),
        f.DISCOUNT_SHARE: discount(
            runs.sum(np.where(recent, actions.value, 0.0)),
            runs.sum(np.where(recent, actions.list_value, 0.0)),
        ),
        f.COUPON_COUNT: runs.sum(coupons.astype(float)),
        f.SESSION_GAP_DAYS: _gap_days(actions, runs),
    }
    ids = log.users.take(pa.array(users))
    return table_of(c.USER_ID, ids, columns, USER_ACTIVITY_TYPES)


def ratio(part: Float64, whole: Float64, *, empty: float = 0.0) -> Float64:
    """`part / whole`, and `empty` where `whole` is 0."""
    out = np.full(len(part), empty)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def discount(paid: Float64, listed: Float64) -> Float64:
    """Share of the list price that was saved: `max(0, 1 - paid / listed)`, 0 without a price."""
    return np.maximum(1.0 - ratio(paid, listed, empty=1.0), 0.0)


class _Visits:
    """Distinct visits of each user; a visit is in a window when its last action is."""

    def __init__(self, actions: Events, runs: Runs) -> None:
        order = np.lexsort((actions.session, actions.user))
        session = Runs.of(actions.user[order], actions.session[order])
        at = actions.at[order]
        self._user = runs.of_row[order][session.starts]
        self._last_at = session.maximum(at)
        self._users = len(runs)

    def count(self, since: float) -> Float64:
        """Visits of each user with an action at `since` or later, float64 [r]."""
        return counts(self._user[self._last_at >= since], self._users)


def _distinct_items(log: EventLog, as_of: float, users: Int32) -> Float64:
    """Items that each user did the target action on, for users by code [r], float64 [r]."""
    targets = log.targets_by_user_item.before(as_of)
    pairs = Runs.of(targets.user, targets.item)
    return counts(targets.user[pairs.starts], len(log.users))[users]


def _gap_days(actions: Events, runs: Runs) -> Float64:
    active_days = Runs.of(actions.user, actions.day)
    days = counts(runs.of_row[active_days.starts], len(runs))
    span = actions.day[runs.ends - 1] - actions.day[runs.starts]
    return ratio(span.astype(float), days - 1.0)

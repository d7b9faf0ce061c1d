"""Item statistics: popularity by window, price, discount, repeat purchase and age of each item.

A row for each item with at least one event of any type. Windows are `[as_of - days, as_of)`.
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
from qianmian.features.segments import Float64, Int32, Runs, counts, weighted_counts
from qianmian.features.user_activity import discount, ratio

#: Window of prices, discount and impressions, in days.
PRICE_WINDOW_DAYS: Final = 28

ITEM_STATISTICS_TYPES: Final = {
    **dict.fromkeys(f.ITEM_STATISTICS_TIMES, DataType.FLOAT64),
    **dict.fromkeys(f.ITEM_STATISTICS_NUMERIC, DataType.FLOAT32),
}


def item_statistics(log: EventLog, as_of: float) -> pa.Table:
    """Statistics of each item as of `as_of` (epoch seconds).

    - `target_count_*`, `target_users_*`: target actions, and distinct users who did one
    - `repeat_rate`: share of the item's users with at least two visits that hold it
    - `repeat_interval_days`: median days between a user's successive visits that hold it
    - `paid_price`, `base_price`: median unit price paid, and without discount, over the order
      lines of 28 days; where there are none, over all history
    - `discount`: 1 - sum(paid) / sum(list price) over 28 days, not below 0
    - `trend`: log((7-day count + 1) / 7) - log((28-day count + 4) / 28)
    """
    past = log.before(as_of)
    n = len(log.items)
    targets = past.take(past.kind == EVENT_CODE[log.target])
    columns: dict[str, Float64] = {
        f.FIRST_SEEN_AT: _first_at(past, n),
        f.LAST_SEEN_AT: _last_at(past, n),
        f.TARGET_COUNT_TOTAL: counts(targets.item, n),
    }
    for days in f.WINDOWS_DAYS:
        columns[f.target_count(days)] = counts(_since(targets, as_of, days).item, n)
    recent = _since(past, as_of, PRICE_WINDOW_DAYS)
    priced = recent.take(has_price(recent))
    impressions = recent.take(recent.kind == EVENT_CODE[EventType.IMPRESSION])
    short, long = f.WINDOWS_DAYS[0], f.WINDOWS_DAYS[1]
    columns |= {
        **_repeat(log, as_of),
        f.PAID_PRICE: _median_price(log.orders_by_paid_price, as_of, n),
        f.BASE_PRICE: _median_price(log.orders_by_list_price, as_of, n),
        f.DISCOUNT: discount(
            weighted_counts(priced.item, priced.value, n),
            weighted_counts(priced.item, priced.list_value, n),
        ),
        f.IMPRESSION_COUNT: counts(impressions.item, n),
        f.TREND: np.log((columns[f.target_count(short)] + 1.0) / short)
        - np.log((columns[f.target_count(long)] + long / short) / long),
    }
    seen = np.flatnonzero(counts(past.item, n))
    return table_of(
        c.ITEM_ID,
        log.items.take(pa.array(seen)),
        {name: values[seen] for name, values in columns.items()},
        ITEM_STATISTICS_TYPES,
    )


def _since(events: Events, as_of: float, days: int) -> Events:
    """The tail of time-sorted events that lies in the last `days` days."""
    first = np.searchsorted(events.at, as_of - days * SECONDS_PER_DAY, side="left")
    return events.take(slice(first, None))


def _first_at(events: Events, n: int) -> Float64:
    first = np.zeros(n)
    first[events.item[::-1]] = events.at[::-1]
    return first


def _last_at(events: Events, n: int) -> Float64:
    last = np.zeros(n)
    last[events.item] = events.at
    return last


def _repeat(log: EventLog, as_of: float) -> dict[str, Float64]:
    """What needs (user, item) pairs: distinct users, repeat rate and interval, each [n]."""
    n = len(log.items)
    targets = log.targets_by_user_item.before(as_of)
    visits = Runs.of(targets.user, targets.item, targets.session)
    item, user = targets.item[visits.starts], targets.user[visits.starts]
    pairs = Runs.of(user, item)  # runs of visits
    pair_item = item[pairs.starts]
    last_at = pairs.maximum(targets.at[visits.ends - 1])
    users = counts(pair_item, n)
    repeaters = counts(pair_item[pairs.lengths > 1], n)
    columns = {
        f.TARGET_USERS_TOTAL: users,
        f.REPEAT_RATE: ratio(repeaters, users),
        f.REPEAT_INTERVAL_DAYS: _interval(targets.at[visits.starts], item, pairs, n),
    }
    for days in f.WINDOWS_DAYS:
        inside = last_at >= as_of - days * SECONDS_PER_DAY
        columns[f.target_users(days)] = counts(pair_item[inside], n)
    return columns


def _interval(visit_at: Float64, item: Int32, pairs: Runs, n: int) -> Float64:
    """Median days between successive visits of a pair by item [n]; 0 where no user repeats."""
    successive = np.ones(len(visit_at), dtype=bool)
    successive[pairs.starts] = False
    later = np.flatnonzero(successive)
    days = np.maximum(visit_at[later] - visit_at[later - 1], 0.0) / SECONDS_PER_DAY
    order = np.lexsort((days, item[later]))
    gap_item, gap = item[later][order], days[order]
    runs = Runs.of(gap_item)
    interval = np.zeros(n)
    interval[gap_item[runs.starts]] = runs.median(gap)
    return interval


def _median_price(prices: tuple[Events, Float64], as_of: float, n: int) -> Float64:
    """Median unit price by item [n]: of the last 28 days, else of all history, else 0."""
    orders, price = prices
    median = np.zeros(n)
    past = orders.at < as_of
    recent = past & (orders.at >= as_of - PRICE_WINDOW_DAYS * SECONDS_PER_DAY)
    for rows in (past, recent):
        item = orders.item[rows]
        runs = Runs.of(item)
        median[item[runs.starts]] = runs.median(price[rows])
    return median

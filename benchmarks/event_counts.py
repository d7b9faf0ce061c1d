"""Counts of orders and units for each shopper: as clients know them, from the log, and online.

The log is counted by the feature functions themselves; online features were computed by the stream.
Whoever differs from what the clients know was accepted is a wrong count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.events.event import StoredEvent
from qianmian.events.rows import contract_rows
from qianmian.features.event_log import EventLog
from qianmian.features.store import FeatureRepo
from qianmian.features.user_activity import user_activity
from qianmian.features.user_ledger import user_ledger
from qianmian.features.views import EVENT_COLUMNS
from qianmian.workspace import Workspace

#: Orders and units of each shopper who has any.
Counts = Mapping[str, tuple[int, float]]


def counts_of_clients(accepted: Sequence[Mapping[str, Any]], imported: int = 0) -> Counts:
    """Count what was accepted of each shopper who ordered, beside `imported` orders of one unit."""
    orders: Counter[str] = Counter()
    units: defaultdict[str, float] = defaultdict(float)
    for event in accepted:
        if event[c.EVENT_TYPE] == EventType.ORDER:
            orders[event[c.USER_ID]] += 1
            units[event[c.USER_ID]] += event[c.QUANTITY]
    return {user: (count + imported, units[user] + imported) for user, count in orders.items()}


def counts_of_log(stored: Sequence[StoredEvent]) -> Counts:
    """Count what the log holds, by the feature functions."""
    rows = contract_rows(stored, EVENT_COLUMNS)
    log = EventLog.build(rows, target=EventType.ORDER, time_zone="UTC")
    later = datetime.now(UTC).timestamp() + 3600.0
    activity = user_activity(log, later).to_pandas().set_index(c.USER_ID)
    ledger = user_ledger(log, later).to_pandas().set_index(c.USER_ID)
    units = ledger[f.LEDGER_QUANTITIES]
    return {
        user: (int(count), float(units[user].sum()))
        for user, count in activity[f.TARGET_COUNT_TOTAL].items()
        if count
    }


def counts_online(workspace: Workspace, users: Sequence[str]) -> Counts:
    """Return what the online store says of some shoppers."""
    rows = FeatureRepo.open(workspace).online_users(users)
    return {user: _online(row) for user, row in zip(users, rows, strict=True) if row is not None}


def _online(row: Mapping[str, Any]) -> tuple[int, float]:
    return int(row[f.TARGET_COUNT_TOTAL]), float(sum(row[f.LEDGER_QUANTITIES]))


def differing(one: Counts, other: Counts) -> int:
    """Return how many shoppers are counted differently."""
    return sum(one.get(user) != other.get(user) for user in one.keys() | other.keys())

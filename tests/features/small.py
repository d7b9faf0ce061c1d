"""Small event logs written by hand, for tests of features."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.features.event_log import EventLog

DAY = 86_400.0

#: Monday noon, UTC.
NOON = datetime(2024, 6, 3, 12, tzinfo=UTC).timestamp()

Row = dict[str, object]


def event(user: str, item: str, days: float, kind: str = "order", **more: object) -> Row:
    """An event `days` after NOON."""
    return {c.USER_ID: user, c.ITEM_ID: item, c.EVENT_TYPE: kind, "days": days, **more}


def frame(*rows: Row) -> pd.DataFrame:
    """Events in the data contract's columns."""
    table = pd.DataFrame(list(rows), columns=_columns(rows))
    days = table.pop("days").astype(float)
    table[c.TIMESTAMP] = pd.to_datetime((days * DAY + NOON) * 1e6, unit="us", utc=True)
    return table


def log(*rows: Row, target: EventType = EventType.ORDER, time_zone: str = "UTC") -> EventLog:
    return EventLog.build(frame(*rows), target=target, time_zone=time_zone)


def at(days: float) -> float:
    """Epoch seconds, `days` after NOON."""
    return NOON + days * DAY


def _columns(rows: tuple[Row, ...]) -> list[str]:
    base = [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, "days"]
    return [*base, *dict.fromkeys(name for row in rows for name in row if name not in base)]

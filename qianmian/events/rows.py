"""Stored events as rows of the data contract: what features read and what the archive keeps.

One function for the stream and for the archive, so that an event gives the same features before
and after it was archived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.data.tables import TIME
from qianmian.events.event import StoredEvent

MICROSECONDS: Final = 1_000_000


def microseconds(moment: float) -> int:
    """Round seconds since the epoch to the precision in which events are kept."""
    return round(moment * MICROSECONDS)


def _arms(event: StoredEvent) -> str | None:
    return orjson.dumps(event.arms).decode() if event.arms else None


_Value = Callable[[StoredEvent], Any]

#: Name, type and value of each column. The user of a row is the event's subject.
_COLUMNS: Final[dict[str, tuple[pa.DataType, _Value]]] = {
    c.USER_ID: (pa.string(), lambda e: e.subject_id),
    c.ITEM_ID: (pa.string(), lambda e: e.item_id),
    c.EVENT_TYPE: (pa.string(), lambda e: e.event_type),
    c.TIMESTAMP: (TIME, lambda e: microseconds(e.timestamp)),
    c.EVENT_ID: (pa.string(), lambda e: e.event_id),
    c.QUANTITY: (pa.float64(), lambda e: e.quantity),
    c.VALUE: (pa.float64(), lambda e: e.value),
    c.LIST_VALUE: (pa.float64(), lambda e: e.list_value),
    c.CURRENCY: (pa.string(), lambda e: e.currency),
    c.VENUE_ID: (pa.string(), lambda e: e.venue_id),
    c.BLOCK_ID: (pa.string(), lambda e: e.block_id),
    c.POSITION: (pa.float64(), lambda e: e.position),
    c.SESSION_ID: (pa.string(), lambda e: e.session_id),
    c.ORDER_ID: (pa.string(), lambda e: e.order_id),
    c.COUPON_ID: (pa.string(), lambda e: e.coupon_id),
    c.PROPENSITY: (pa.float64(), lambda e: e.propensity),
    c.RECOMMENDATION_ID: (pa.string(), lambda e: e.recommendation_id),
    c.VISITOR_ID: (pa.string(), lambda e: e.visitor_id),
    c.RECEIVED_AT: (TIME, lambda e: microseconds(e.received_at)),
    c.PAGE_VIEW_ID: (pa.string(), lambda e: e.page_view_id),
    c.SHARED_BY: (pa.string(), lambda e: e.shared_by),
    c.RELEASE: (pa.string(), lambda e: e.release),
    c.PHASE: (pa.string(), lambda e: e.phase),
    c.ARMS: (pa.string(), _arms),
    c.SLOT: (pa.string(), lambda e: e.slot),
    c.CAMPAIGN_ID: (pa.string(), lambda e: e.campaign_id),
    c.ATTRIBUTED: (pa.string(), lambda e: e.attributed),
    c.QUARANTINE: (pa.string(), lambda e: e.quarantine),
}

ROW_SCHEMA: Final = pa.schema([(name, kind) for name, (kind, _) in _COLUMNS.items()])


def contract_rows(
    events: Sequence[StoredEvent], columns: Sequence[str] = tuple(_COLUMNS)
) -> pa.Table:
    """Events as a table of the data contract's columns and those of attribution, in their order."""
    arrays = [
        pa.array([value(event) for event in events], kind)
        for kind, value in (_COLUMNS[name] for name in columns)
    ]
    schema = pa.schema([ROW_SCHEMA.field(name) for name in columns])
    return pa.Table.from_arrays(arrays, schema=schema)

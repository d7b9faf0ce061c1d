"""The event log in the form that feature functions take: ids coded, rows sorted, columns as arrays.

It stands between the imported events and every feature. Ids become codes in the order of their
text, local days and sessions are worked out once, and the sort orders that features need are made
on first use and kept, so that twenty snapshots cost twenty passes and not twenty sorts. Nothing
here knows the moment of a snapshot: `Events.before` cuts, and each feature function calls it.

Row order is fixed by the events' content, never by the order of arrival, and the codes of a subset
of users keep their order. So one user's events give that user's features exactly as everybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts.events import ACTIONS, EVENT_CODE, EventType
from qianmian.distinct import distinct
from qianmian.errors import FieldError
from qianmian.features.segments import Float64, Int32, Int64

SECONDS_PER_DAY = 86_400.0
_MICROSECONDS = 1_000_000

_ACTION = np.zeros(len(EVENT_CODE) + 1, dtype=np.bool_)
_ACTION[[EVENT_CODE[action] for action in ACTIONS]] = True

_Money = Callable[["Events"], Float64]


@dataclass(frozen=True, slots=True)
class Events:
    """Event rows as parallel arrays [n]."""

    user: Int32
    item: Int32
    kind: npt.NDArray[np.int8]  # contracts.events.EVENT_CODE
    at: Float64  # epoch seconds
    session: Int32  # dense; a user's sessions ascend with their first event
    day: Int32  # days since the epoch in the data set's time zone
    hour: npt.NDArray[np.int8]  # hour of the local day
    quantity: Float64  # 1 where the data gives none
    value: Float64  # paid; NaN where unknown
    list_value: Float64  # without discount; `value` where unknown

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: npt.NDArray[np.generic] | slice) -> Events:
        """The rows at these positions, or where a mask holds, or a slice."""
        return Events(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def before(self, as_of: float) -> Events:
        """The rows with a time strictly before `as_of`, in the same order."""
        return self.take(self.at < as_of)


@dataclass(frozen=True)
class EventLog:
    """Coded events of some users, sorted by time.

    `users` and `items` hold the text of the codes, ascending.
    """

    users: pa.StringArray
    items: pa.StringArray
    events: Events
    target: EventType

    @classmethod
    def build(
        cls, frame: pd.DataFrame | pa.Table, *, target: EventType, time_zone: str
    ) -> EventLog:
        """Code and sort the events of a data set.

        Args:
            frame: events in the data contract's columns; optional ones may be absent. Rows without
                a time are left out: no moment can be said at which they were known.
            target: the event type that counts as the goal.
            time_zone: IANA name; sets local days, weekdays and dayparts.
        """
        table = frame if isinstance(frame, pa.Table) else _to_table(frame)
        table = table.filter(pc.is_valid(table[c.TIMESTAMP]))
        user, users = _coded(table[c.USER_ID])
        item, items = _coded(table[c.ITEM_ID])
        stamp = _microseconds(table[c.TIMESTAMP])
        day, hour = _local(stamp, time_zone)
        at = stamp / _MICROSECONDS
        value = _numbers(table, c.VALUE)
        list_value = _numbers(table, c.LIST_VALUE)
        quantity = _numbers(table, c.QUANTITY)
        events = Events(
            user=user,
            item=item,
            kind=_event_codes(table[c.EVENT_TYPE]),
            at=at,
            session=_sessions(table, user, day, at),
            day=day,
            hour=hour,
            quantity=np.where(np.isnan(quantity), 1.0, quantity),
            value=value,
            list_value=np.where(np.isnan(list_value), value, list_value),
        )
        e = events
        order = np.lexsort(
            (e.list_value, e.value, e.quantity, e.session, e.kind, e.item, e.user, e.at)
        )
        return cls(users=users, items=items, events=events.take(order), target=target)

    def before(self, as_of: float) -> Events:
        """The events strictly before `as_of`, by time; a view, nothing is copied."""
        return self.events.take(slice(np.searchsorted(self.events.at, as_of, side="left")))

    @cached_property
    def is_target(self) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = self.events.kind == EVENT_CODE[self.target]
        return mask

    @cached_property
    def actions_by_user(self) -> Events:
        """Everything by which users showed interest, by (user, time)."""
        actions = self.events.take(is_action(self.events))
        return actions.take(np.argsort(actions.user, kind="stable"))

    @cached_property
    def targets_by_user(self) -> Events:
        """Target actions by (user, time)."""
        targets = self.events.take(self.is_target)
        return targets.take(np.argsort(targets.user, kind="stable"))

    @cached_property
    def targets_by_user_item(self) -> Events:
        """Target actions by (user, item, session, time)."""
        targets = self.events.take(self.is_target)
        return targets.take(np.lexsort((targets.session, targets.item, targets.user)))

    @cached_property
    def by_user_item(self) -> Events:
        """All events by (user, item, time)."""
        return self.events.take(np.lexsort((self.events.item, self.events.user)))

    @cached_property
    def orders_by_paid_price(self) -> tuple[Events, Float64]:
        """Orders with money by (item, paid unit price), and that price [n]."""
        return self._priced(lambda events: events.value)

    @cached_property
    def orders_by_list_price(self) -> tuple[Events, Float64]:
        """Orders with money by (item, list unit price), and that price [n]."""
        return self._priced(lambda events: events.list_value)

    def _priced(self, money: _Money) -> tuple[Events, Float64]:
        orders = self.events.take(has_price(self.events))
        price = money(orders) / orders.quantity
        order = np.lexsort((price, orders.item))
        return orders.take(order), price[order]


def is_action(events: Events) -> npt.NDArray[np.bool_]:
    """Whether a row is one of `contracts.events.ACTIONS`, bool [n]."""
    return _ACTION[events.kind]


def has_price(events: Events) -> npt.NDArray[np.bool_]:
    """Whether a row is an order that says what was paid for how many units, bool [n]."""
    is_order = events.kind == EVENT_CODE[EventType.ORDER]
    known: npt.NDArray[np.bool_] = is_order & (events.quantity > 0) & ~np.isnan(events.value)
    return known


def _to_table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def _coded(column: pa.ChunkedArray) -> tuple[Int32, pa.StringArray]:
    """Codes int32 [n] that ascend with the text, and the texts ascending."""
    if not len(column):
        return np.zeros(0, dtype=np.int32), pa.array([], pa.string())
    encoded = _text(column).dictionary_encode().unify_dictionaries().combine_chunks()
    encoded = encoded if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0)
    texts = encoded.dictionary.cast(pa.string())
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    used = distinct(codes)
    order = pc.sort_indices(texts.take(pa.array(used))).to_numpy()
    rank = np.zeros(len(texts), dtype=np.int32)
    rank[used[order]] = np.arange(len(used), dtype=np.int32)
    return rank[codes], texts.take(pa.array(used[order]))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text, or text in a dictionary; a column without a value has no type of its own."""
    if not pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_null(column.type.value_type):  # a category without a member
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    return column


def _microseconds(column: pa.ChunkedArray) -> Int64:
    stamps = column.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    return np.asarray(stamps.to_numpy(), dtype=np.int64)


def _local(stamp: Int64, time_zone: str) -> tuple[Int32, npt.NDArray[np.int8]]:
    """Local day and hour of UTC microseconds [n], daylight saving time included."""
    # Offsets change on quarter hours only, so the conversion is made once a quarter of an hour.
    quarters, inverse = np.unique(stamp // (900 * _MICROSECONDS), return_inverse=True)
    moments = pd.DatetimeIndex((quarters * 900).astype("datetime64[s]"), tz="UTC")
    local = moments.tz_convert(time_zone).tz_localize(None).to_numpy().astype("datetime64[s]")
    seconds = local.astype(np.int64)[inverse]
    return (seconds // 86_400).astype(np.int32), (seconds % 86_400 // 3_600).astype(np.int8)


def _numbers(table: pa.Table, name: str) -> Float64:
    """A numeric column as float64 [n], NaN where null or absent."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _event_codes(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    code, names = _coded(column)
    unknown = [name for name in names.to_pylist() if name not in EVENT_CODE]
    if unknown:
        known = ", ".join(EVENT_CODE)
        raise FieldError(c.EVENT_TYPE, unknown[0], f"one of {known}", "import the data set again")
    by_name = np.array([EVENT_CODE[EventType(name)] for name in names.to_pylist()], dtype=np.int8)
    return by_name[code]


def _sessions(table: pa.Table, user: Int32, day: Int32, at: Float64) -> Int32:
    """Number the visits: a session id where there is one, else an order id, else the local day.

    Within a user the numbers ascend with the visit's first event.
    """
    kind = np.zeros(len(user), dtype=np.int8)
    key = day.astype(np.int64)
    for rank, name in enumerate((c.ORDER_ID, c.SESSION_ID), start=1):
        if name in table.column_names:
            column = _text(table[name])
            given = pc.is_valid(column).to_numpy()
            codes, _ = _coded(column.fill_null(""))
            kind = np.where(given, np.int8(rank), kind)
            key = np.where(given, codes, key)
    visit_order = np.lexsort((at, key, kind, user))
    keys = (user[visit_order], kind[visit_order], key[visit_order])
    change = np.zeros(len(user), dtype=bool)
    change[:1] = True
    for column in keys:
        change[1:] |= column[1:] != column[:-1]
    visit = np.cumsum(change) - 1
    starts = np.flatnonzero(change)
    begins = at[visit_order][starts]
    owner = user[visit_order][starts]
    number = np.empty(len(starts), dtype=np.int32)
    number[np.lexsort((begins, owner))] = np.arange(len(starts), dtype=np.int32)
    session = np.empty(len(user), dtype=np.int32)
    session[visit_order] = number[visit]
    return session

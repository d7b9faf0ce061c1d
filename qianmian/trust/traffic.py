"""Logged events as arrays for the trust rules: ids coded, rows in the order of time.

`Seen` is what the rules need of one event. `Traffic.of` lays many out, from the stream or the
archive alike, so both are judged by the same functions on the same arrays.

Shapes: `n` events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts.events import EVENT_CODE
from qianmian.contracts.subjects import is_visitor

#: The door takes events up to seven days old: what was received later came by an import.
LIVE_SECONDS: Final = 8 * 86_400.0

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


class Logged(Protocol):
    """An event of the log, as far as trust looks at it."""

    @property
    def event_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def timestamp(self) -> float: ...
    @property
    def received_at(self) -> float: ...
    @property
    def subject_id(self) -> str: ...
    @property
    def visitor_id(self) -> str | None: ...
    @property
    def item_id(self) -> str | None: ...
    @property
    def order_id(self) -> str | None: ...
    @property
    def venue_id(self) -> str | None: ...
    @property
    def recommendation_id(self) -> str | None: ...
    @property
    def shared_by(self) -> str | None: ...


class Seen(NamedTuple):
    """One event as the rules see it; "" stands for what is not known."""

    event_id: str
    kind: int  # contracts.events.EVENT_CODE
    at: float  # epoch seconds
    subject: str
    user: str  # the subject where it is an account
    device: str
    item: str
    order: str
    page: str  # recommendation that it names, else venue; "" for imported history
    shared_by: str

    @classmethod
    def of(cls, event: Logged) -> Seen:
        """Read an event of the log."""
        return cls(
            event_id=event.event_id,
            kind=EVENT_CODE[event.event_type],  # type: ignore[index]  # a StrEnum's text
            at=event.timestamp,
            subject=event.subject_id,
            user=account(event.subject_id),
            device=event.visitor_id or "",
            item=event.item_id or "",
            order=event.order_id or "",
            page=_page(
                event.recommendation_id, event.venue_id, event.received_at - event.timestamp
            ),
            shared_by=event.shared_by or "",
        )


def account(subject_id: str) -> str:
    """Return the account that a subject is, "" for a device.

    >>> account("u1"), account("visitor:d-7")
    ('u1', '')
    """
    return "" if is_visitor(subject_id) else subject_id


def _page(recommendation: str | None, venue: str | None, delay: float) -> str:
    """What page an event names; imported history names none, for its impressions were not kept."""
    return "" if delay > LIVE_SECONDS else recommendation or venue or ""


def seen_in(frame: pd.DataFrame) -> Iterator[Seen]:
    """Rows of a table in the data contract's columns; optional ones may be absent.

    The archive keeps an event's subject as its user.
    """
    at = frame[c.TIMESTAMP].to_numpy(dtype="datetime64[us]").astype(np.int64) * 1e-6
    kinds = frame[c.EVENT_TYPE].astype(str).map({str(k): v for k, v in EVENT_CODE.items()})
    subject = _texts(frame, c.USER_ID)
    received = frame[c.RECEIVED_AT] if c.RECEIVED_AT in frame else frame[c.TIMESTAMP]
    delays = (received.fillna(frame[c.TIMESTAMP]) - frame[c.TIMESTAMP]).dt.total_seconds()
    recommendation, venue = _texts(frame, c.RECOMMENDATION_ID), _texts(frame, c.VENUE_ID)
    columns = (
        _texts(frame, c.EVENT_ID),
        kinds.tolist(),
        at.tolist(),
        subject,
        [account(subject_id) for subject_id in subject],
        *(_texts(frame, name) for name in (c.VISITOR_ID, c.ITEM_ID, c.ORDER_ID)),
        list(map(_page, recommendation, venue, delays)),
        _texts(frame, c.SHARED_BY),
    )
    return (Seen(*row) for row in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events as parallel arrays [n], by time. Codes are those of one window; -1 is unknown.

    Users, devices and who shared a link are coded alike, so they can be compared.
    """

    event_ids: npt.NDArray[np.object_]
    kind: npt.NDArray[np.int8]
    at: Float64
    subject: Int64
    user: Int64
    device: Int64
    item: Int64
    order: Int64
    on_page: Bool
    shared_by: Int64

    def __len__(self) -> int:
        return len(self.event_ids)

    @classmethod
    def of(cls, events: Iterable[Seen]) -> Traffic:
        """Lay events out; the order in which they come does not matter."""
        rows = sorted(events, key=lambda seen: (seen.at, seen.event_id))
        columns = list(zip(*rows, strict=True)) or [()] * len(Seen._fields)
        event_ids, kind, at, subject, user, device, item, order, page, shared_by = columns
        who = _codes(subject, user, device, shared_by)
        return cls(
            event_ids=np.array(event_ids, dtype=object),
            kind=np.array(kind, dtype=np.int8),
            at=np.array(at, dtype=np.float64),
            subject=who[0],
            user=who[1],
            device=who[2],
            item=_codes(item)[0],
            order=_codes(order)[0],
            on_page=np.array([bool(text) for text in page], dtype=np.bool_),
            shared_by=who[3],
        )


def _codes(*columns: Sequence[str]) -> list[Int64]:
    """Codes [n] of several columns in one numbering; -1 for ""."""
    code_of: dict[str, int] = {}
    return [
        np.array(
            [code_of.setdefault(text, len(code_of)) if text else -1 for text in column],
            dtype=np.int64,
        )
        for column in columns
    ]


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    if name not in frame:
        return [""] * len(frame)
    return list(frame[name].astype(object).where(frame[name].notna(), "").astype(str))

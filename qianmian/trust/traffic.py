"""Logged events as arrays for the trust rules: ids coded, rows in the order of time.

`Seen` is what the rules need of one event. `Traffic` lays many out, from the stream or the archive
alike, so both are judged by the same functions on the same arrays.

Shapes: `n` events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

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
Texts = npt.NDArray[np.object_]


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
        columns = list(zip(*events, strict=True)) or [()] * len(Seen._fields)
        named = dict(zip(Seen._fields, columns, strict=True))
        return cls._of(
            kind=np.array(named.pop("kind"), dtype=np.int8),
            at=np.array(named.pop("at"), dtype=np.float64),
            **{name: np.array(values, dtype=object) for name, values in named.items()},
        )

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> Traffic:
        """Lay out the rows of a table in the data contract's columns, of which some may be absent.

        The archive keeps an event's subject as its user.
        """
        return cls._of(**_columns(frame))

    @classmethod
    def _of(
        cls,
        *,
        event_id: Texts,
        kind: npt.NDArray[np.int8],
        at: Float64,
        subject: Texts,
        user: Texts,
        device: Texts,
        item: Texts,
        order: Texts,
        page: Texts,
        shared_by: Texts,
    ) -> Traffic:
        """Code the texts and put the rows in the order of time, ties by event id."""
        by_id, _ = pd.factorize(event_id, sort=True)
        rows = np.lexsort((by_id, at))
        who = _codes(*(texts[rows] for texts in (subject, user, device, shared_by)))
        return cls(
            event_ids=event_id[rows],
            kind=kind[rows],
            at=at[rows],
            subject=who[0],
            user=who[1],
            device=who[2],
            item=_codes(item[rows])[0],
            order=_codes(order[rows])[0],
            on_page=np.asarray(page[rows] != "", dtype=np.bool_),
            shared_by=who[3],
        )


def seen_in(frame: pd.DataFrame) -> list[Seen]:
    """The rows of such a table one by one, as the stream sees events."""
    columns = _columns(frame)
    return [Seen(*row) for row in zip(*(columns[n].tolist() for n in Seen._fields), strict=True)]


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    """The fields of `Seen` as arrays [n], from a table in the data contract's columns."""
    stamp = frame[c.TIMESTAMP]
    kinds = frame[c.EVENT_TYPE].astype(object).map({str(k): v for k, v in EVENT_CODE.items()})
    received = frame[c.RECEIVED_AT].fillna(stamp) if c.RECEIVED_AT in frame else stamp
    history = ((received - stamp).dt.total_seconds() > LIVE_SECONDS).to_numpy()
    subject, venue = _texts(frame, c.USER_ID), _texts(frame, c.VENUE_ID)
    recommendation = _texts(frame, c.RECOMMENDATION_ID)
    page = np.where(recommendation == "", venue, recommendation)
    accounts = {subject_id: account(subject_id) for subject_id in pd.unique(subject)}
    return {
        "event_id": _texts(frame, c.EVENT_ID),
        "kind": np.asarray(kinds, dtype=np.int8),
        "at": stamp.to_numpy(dtype="datetime64[us]").astype(np.int64) * 1e-6,
        "subject": subject,
        "user": pd.Series(subject).map(accounts).to_numpy(dtype=object),
        "device": _texts(frame, c.VISITOR_ID),
        "item": _texts(frame, c.ITEM_ID),
        "order": _texts(frame, c.ORDER_ID),
        "page": np.where(history, "", page),
        "shared_by": _texts(frame, c.SHARED_BY),
    }


def _codes(*columns: Texts) -> list[Int64]:
    """Codes [n] of several columns in one numbering; -1 for ""."""
    together = pd.Series(np.concatenate(columns), dtype=object)
    codes, _ = pd.factorize(together.mask(together == ""))
    return np.split(codes.astype(np.int64), len(columns))


def _texts(frame: pd.DataFrame, name: str) -> Texts:
    if name not in frame:
        return np.full(len(frame), "", dtype=object)
    column = frame[name].astype(object)
    texts: Texts = column.where(column.notna(), "").to_numpy(dtype=object)
    return texts

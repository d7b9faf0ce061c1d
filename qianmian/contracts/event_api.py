"""The HTTP contract of events: what `POST /v1/events` takes and answers.

Each event of a batch is judged on its own, so what is wrong with one never costs the others. The
models check requests and make `/openapi.json`; the bulk import holds its rows against them, too.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter

from qianmian.contracts.api import Id, _Contract
from qianmian.contracts.events import EventType

MAX_EVENTS: Final = 500
MAX_ATTRIBUTION_TOKEN: Final = 16_384
MAX_POSITION: Final = 1_000_000

#: Beyond any line of an order. Sums of more would leave float32, which features are, or the 64 bits
#: of the ledger's millionths.
MAX_AMOUNT: Final = 1e10

Amount = Annotated[float, Field(ge=0, le=MAX_AMOUNT, allow_inf_nan=False)]


class Event(_Contract):
    """What somebody did, or was shown."""

    event_id: Id
    """Made by the sender, new for each event; sent again, it has the effect of once."""
    event_type: EventType
    """What happened."""
    timestamp: AwareDatetime
    """When it happened, with the UTC offset."""
    item_id: Id
    """The item it happened to."""
    user_id: Id | None = None
    """Whose account; this or `visitor_id` is needed."""
    visitor_id: Id | None = None
    """Which device."""
    session_id: Id | None = None
    """The visit it belongs to."""
    page_view_id: Id | None = None
    """The view of the page it belongs to."""
    order_id: Id | None = None
    """The order that a line belongs to."""
    venue_id: Id | None = None
    """The venue it happened in."""
    block_id: Id | None = None
    """The block it happened in."""
    position: Annotated[int, Field(ge=1, le=MAX_POSITION)] | None = None
    """Place in the block, from 1."""
    quantity: Amount | None = None
    """Units."""
    value: Amount | None = None
    """Money paid for the line."""
    list_value: Amount | None = None
    """What the line would have cost without any discount."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    """ISO 4217 code of the money."""
    coupon_id: Id | None = None
    """The coupon that was taken or used."""
    shared_by: Id | None = None
    """Who sent the link that led here."""
    attribution_token: (
        Annotated[str, StringConstraints(max_length=MAX_ATTRIBUTION_TOKEN)] | None
    ) = None
    """`attribution_token` of the answer that showed the item, unchanged."""


class EventsRequest(_Contract):
    """Body of `POST /v1/events`."""

    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=MAX_EVENTS)]
    """Up to 500 events, in any order."""


EVENTS_REQUEST: Final = TypeAdapter(EventsRequest)


class RejectedEvent(_Contract):
    """An event that was not taken."""

    index: Annotated[int, Field(ge=0)]
    """Its place in the request, from 0."""
    event_id: str | None
    """Its id, where it has a readable one."""
    error: str
    """What field, what value, what was expected, how to mend it."""


class EventsResponse(_Contract):
    """Answer of `POST /v1/events`: what it counts as accepted is on the disk."""

    accepted: Annotated[int, Field(ge=0)]
    """Events that are new."""
    duplicates: Annotated[int, Field(ge=0)]
    """Events whose id was accepted before."""
    rejected: list[RejectedEvent]
    """Events that were not taken; sending them again unchanged would not help."""

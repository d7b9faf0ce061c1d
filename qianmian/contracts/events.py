"""The event types: what a visitor can do, and which of it counts as a goal."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """The event types of the data contract; impressions are logged explicitly, never inferred."""

    IMPRESSION = "impression"
    CLICK = "click"
    FAVORITE = "favorite"
    CART = "cart"
    ORDER = "order"
    SHARE = "share"
    COUPON = "coupon"
    DISLIKE = "dislike"  # "not interested": the opposite of an action


#: Goals from the strongest to the weakest: the target of a data set that names none is the first
#: of these that its events hold.
TARGET_ORDER = (
    EventType.ORDER,
    EventType.CART,
    EventType.FAVORITE,
    EventType.CLICK,
    EventType.SHARE,
    EventType.COUPON,
)

#: Event types by which a user shows interest: an impression is done to the user, a dislike says no.
ACTIONS = tuple(e for e in EventType if e not in (EventType.IMPRESSION, EventType.DISLIKE))

#: Actions that the ranker may predict, each by a probability head of its own.
PREDICTED_ACTIONS = (EventType.CLICK, EventType.CART, EventType.ORDER)

#: Integer code of each event type in sequences; 0 is padding. New types come last: codes stay.
EVENT_CODE = {event: code for code, event in enumerate(EventType, start=1)}

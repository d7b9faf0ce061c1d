"""What an attribution token says of one event, once it was opened.

The codec of tokens stands with the request path that signs them (`serving/feed/tokens.py`); the
acceptance of events only knows this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from qianmian.contracts.event_api import Event
from qianmian.events.event import BY_TOKEN, NOT_ATTRIBUTED, Sale


class Attributed(NamedTuple):
    """Where an event came from; everything is None unless `attributed` is `token`."""

    attributed: str = BY_TOKEN
    recommendation_id: str | None = None
    venue_id: str | None = None
    block_id: str | None = None
    position: int | None = None
    page_view_id: str | None = None
    phase: str | None = None
    release: str | None = None
    arms: tuple[tuple[str, str, str], ...] = ()
    propensity: float | None = None
    slot: str | None = None
    campaign_id: str | None = None
    sale: Sale | None = None
    races: tuple[tuple[str, str], ...] = ()


#: Attributes an event that was received at a moment.
Attribute = Callable[[Event, float], Attributed]

UNATTRIBUTED = Attributed(attributed=NOT_ATTRIBUTED)


def by_nothing(event: Event, now: float) -> Attributed:
    """Attribute no event."""
    del event, now
    return UNATTRIBUTED

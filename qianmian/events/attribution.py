"""What an attribution token says of one event, once it was opened.

The codec of tokens stands with the request path that signs them (`serving/feed/tokens.py`); the
acceptance of events only knows this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from qianmian.contracts.event_api import Event
from qianmian.events.event import BY_TOKEN, NOT_ATTRIBUTED, Sale, StoredEvent


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


def attributed(event: StoredEvent, origin: Attributed) -> StoredEvent:
    """Return an event with what its token says of it, which goes before what the sender says."""
    return replace(
        event,
        page_view_id=event.page_view_id or origin.page_view_id,
        venue_id=origin.venue_id or event.venue_id,
        block_id=origin.block_id or event.block_id,
        position=origin.position or event.position,
        recommendation_id=origin.recommendation_id,
        release=origin.release,
        phase=origin.phase,
        arms=origin.arms,
        propensity=origin.propensity,
        slot=origin.slot,
        campaign_id=origin.campaign_id,
        sale=origin.sale,
        races=origin.races,
        attributed=origin.attributed,
    )

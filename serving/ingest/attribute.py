"""Attribute an event by its token: signed, fresh, and of this venue, item and service.

A token that does not hold costs the event nothing but its attribution: it is kept, says why, and is
counted. Many events of a batch carry the same token, so those opened last are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from qianmian.contracts.event_api import Event
from qianmian.events.attribution import UNATTRIBUTED, Attributed
from qianmian.events.event import EXPIRED, FOREIGN
from serving.feed.seal import BadTokenError
from serving.feed.tokens import Attribution, Placed, Signer

_REMEMBERED: Final = 1_024


class Attributor:
    """Opens the attribution tokens of one data set."""

    def __init__(self, signer: Signer, *, max_age: float) -> None:
        """`max_age` is in seconds, counted from the answer that gave the token.

        A sponsored item is attributed as long as its sale may be billed, where that is longer.
        """
        self._signer = signer
        self._max_age = max_age
        self._opened: OrderedDict[str, Attribution] = OrderedDict()

    def __call__(self, event: Event, now: float) -> Attributed:
        """Return what the event's token says of it."""
        text = event.attribution_token
        if text is None:
            return UNATTRIBUTED
        try:
            token = self._open(text)
        except BadTokenError as error:
            return Attributed(attributed=error.kind)
        place = token.place_of(event.item_id)
        elsewhere = event.venue_id is not None and event.venue_id != token.venue_id
        if elsewhere or place is None:
            return Attributed(attributed=FOREIGN)
        if now > self._until(token, place):
            return Attributed(attributed=EXPIRED)
        return Attributed(
            recommendation_id=token.recommendation_id,
            venue_id=token.venue_id,
            block_id=place.block_id,
            position=place.position,
            page_view_id=token.page_view_id,
            phase=token.phase,
            release=token.release,
            arms=token.arms,
            propensity=place.propensity,
            slot=place.slot,
            campaign_id=place.campaign_id,
            sale=place.sale,
            races=token.races,
        )

    def _until(self, token: Attribution, place: Placed) -> float:
        """Return the last moment at which the token attributes what happened to an item."""
        until = token.at + self._max_age
        if place.sale is None:
            return until
        _, _, _, billed_until = place.sale
        return max(until, billed_until)

    def forget(self) -> None:
        """Open every token anew: keys were retired."""
        self._opened = OrderedDict()

    def _open(self, text: str) -> Attribution:
        opened = self._opened  # the watcher of keys may put another in its place
        token = opened.get(text)
        if token is None:
            token = self._signer.open_attribution(text)
            opened[text] = token
            if len(opened) > _REMEMBERED:
                opened.popitem(last=False)
        return token

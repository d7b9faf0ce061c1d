"""Traffic for the trust benchmark: honest sessions, honest ones that look like fraud, and fraud.

Made without a service: pages hold what the shopper often buys and what everybody buys.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

import numpy as np

from benchmarks.simulator.shoppers import Shoppers, Visit
from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.trust.kinds import BURST, CLICK_RATE, SELF_SHARE, SHARED_DEVICE, UNSEEN_ORDER
from qianmian.trust.traffic import Seen

WEEK: Final = 7 * 86_400.0


class Honest:
    """Sessions of simulated shoppers on pages made without a service."""

    def __init__(self, shoppers: Shoppers) -> None:
        self._shoppers = shoppers
        self._ids = count()

    def visit(self, visit: Visit) -> Iterator[Seen]:
        """Return the events of one session of one to three pages."""
        shoppers, user = self._shoppers, self._shoppers.name(visit.user)
        at = visit.at
        for page_number in range(int(shoppers.rng.integers(1, 4))):
            page = shoppers.usual_page(visit.user)
            name = f"r{visit.number}-{page_number}"
            reaction = shoppers.react(visit.user, page, np.arange(1, len(page) + 1), at)
            step = at
            for item in page:
                yield self._event(EventType.IMPRESSION, at, user, item, name)
            for place in np.flatnonzero(reaction.clicked).tolist():
                item, step = page[place], step + float(shoppers.rng.uniform(3, 40))
                yield self._event(EventType.CLICK, step, user, item, name)
                if reaction.carted[place]:
                    yield self._event(EventType.CART, step + 5, user, item, name)
            for place in np.flatnonzero(reaction.ordered).tolist():
                order = f"o{visit.number}"
                yield self._event(EventType.ORDER, step + 60, user, page[place], name, order)
                shoppers.order(visit.user, page[place], step + 60)
            at = step + 90

    def lookalikes(self, number: int, at: float) -> Iterator[Seen]:
        """Return honest events that look like fraud: some of them will be flagged wrongly."""
        who, items = f"honest-{number}", self._shoppers.usual_page(0, 60)
        shown = items[:40]
        for item in shown:  # an eager shopper: more than half of the page is opened
            yield self._event(EventType.IMPRESSION, at, who, item, who)
        for n, item in enumerate(shown[: int(self._shoppers.rng.integers(10, 27))]):
            yield self._event(EventType.CLICK, at + 12 * (n + 1), who, item, who)
        for n, item in enumerate(items):  # a large basket, put together outside pages
            yield self._event(EventType.ORDER, at + 3600 + 0.01 * n, who, item, "", f"o-{who}")
        for child in range(int(self._shoppers.rng.integers(1, 7))):  # a household on one device
            name, home = f"{who}-{child}", f"home-{number}"
            moment = at + 1200.0 * child
            yield self._event(EventType.IMPRESSION, moment, name, items[child], name, device=home)
            yield self._event(EventType.CLICK, moment + 9, name, items[child], name, device=home)
        if self._shoppers.rng.random() < 0.2:  # noqa: PLR2004 - a link sent within the household
            yield self._event(
                EventType.CLICK, at, f"{who}-9", items[0], "", device=home, shared_by=name
            )

    def _event(
        self,
        kind: EventType,
        at: float,
        user: str,
        item: str,
        page: str,
        order: str = "",
        *,
        device: str = "",
        shared_by: str = "",
    ) -> Seen:
        return Seen(
            event_id=f"h{next(self._ids):07d}",
            kind=EVENT_CODE[kind],
            at=at,
            subject=user,
            user=user,
            device=device or f"device-{user}",
            item=item,
            order=order,
            page=page,
            shared_by=shared_by,
        )


class Frauds:
    """Planted fraud of every kind, from brazen to careful."""

    def __init__(self, shoppers: Shoppers, *, start: float, cases: int) -> None:
        self._shoppers, self._rng = shoppers, shoppers.rng
        self._start, self._cases = start, cases
        self._items = [str(i) for i in shoppers.taste.past.item_ids[:500]]
        self._ids = count()

    def of(self, kind: str) -> Iterator[Seen]:
        """Return the events of all cases of one kind."""
        plant = {
            CLICK_RATE: self._robot,
            BURST: self._storm,
            SHARED_DEVICE: self._farm,
            UNSEEN_ORDER: self._forged_order,
            SELF_SHARE: self._own_link,
        }[kind]
        for number in range(self._cases):
            yield from plant(f"{kind}-{number}", self._start + self._rng.uniform(0, WEEK - 86_400))

    def _robot(self, who: str, at: float) -> Iterator[Seen]:
        """Clicks most of what it is shown, at the pace of a person; some stop early."""
        for page in range(int(self._rng.integers(1, 5))):
            items = self._some(20)
            yield from (self._event("impression", at, who, item, page=who) for item in items)
            for item in items:
                if self._rng.random() < self._rng.uniform(0.6, 1.0):
                    at += float(self._rng.uniform(4, 20))
                    yield self._event("click", at, who, item, page=f"{who}-{page}")
            at += 30

    def _storm(self, who: str, at: float) -> Iterator[Seen]:
        """Carts or favourites faster than hands."""
        kind = str(self._rng.choice(["cart", "favorite", "share"]))
        gap = float(self._rng.uniform(0.05, 0.6))
        for n, item in enumerate(self._some(int(self._rng.integers(18, 120)))):
            yield self._event(kind, at + n * gap, who, item)

    def _farm(self, who: str, at: float) -> Iterator[Seen]:
        """Several accounts that take turns on one device within some hours."""
        for account in range(int(self._rng.integers(5, 20))):
            user = f"{who}-{account}"
            items = self._some(10)
            yield from (
                self._event("impression", at, user, item, page=user, device=who) for item in items
            )
            yield self._event("click", at + 20, user, items[0], page=user, device=who)
            at += float(self._rng.uniform(300, 3600))

    def _forged_order(self, who: str, at: float) -> Iterator[Seen]:
        """Orders that claim a page on which the item never stood; some met it long ago."""
        for n, item in enumerate(self._some(int(self._rng.integers(1, 4)))):
            if self._rng.random() < 0.1:  # noqa: PLR2004 - a careful one
                yield self._event("impression", at - 3600, who, item, page="elsewhere")
            yield self._event("order", at + n, who, item, page=f"claimed-{who}", order=who)

    def _own_link(self, who: str, at: float) -> Iterator[Seen]:
        """A share, then visits by its link from the own account, or an alias on the device."""
        item = self._some(1)[0]
        alias = who if self._rng.random() < 0.5 else f"alias-{who}"  # noqa: PLR2004 - half of them
        yield self._event("share", at, who, item, device=f"device-{who}")
        other = "" if self._rng.random() < 0.1 else f"device-{who}"  # noqa: PLR2004 - few hide it
        for n in range(int(self._rng.integers(1, 5))):
            yield self._event("click", at + 600 * (n + 1), alias, item, device=other, shared_by=who)

    def _some(self, size: int) -> list[str]:
        return [str(item) for item in self._rng.choice(self._items, size, replace=False)]

    def _event(
        self,
        kind: str,
        at: float,
        user: str,
        item: str,
        *,
        page: str = "",
        device: str = "",
        order: str = "",
        shared_by: str = "",
    ) -> Seen:
        return Seen(
            event_id=f"f{next(self._ids):07d}",
            kind=EVENT_CODE[EventType(kind)],
            at=at,
            subject=user,
            user=user,
            device=device,
            item=item,
            order=order,
            page=page,
            shared_by=shared_by,
        )

"""Drives the HTTP interface as shoppers do: page -> impressions -> clicks -> carts -> orders.

Sessions run side by side, each step by step, over loopback only. What a session does happens at the
simulated times of its visit; the service's clock stands at the end of the simulated span, and
accepts events up to seven days old. Every event carries the attribution token of its page.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.simulator.shoppers import Reaction, Shoppers, Visit
from qianmian.contracts.event_api import MAX_EVENTS
from qianmian.contracts.events import EventType
from qianmian.errors import FieldError

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_TRIES: Final = 8
_LONGEST_SESSION: Final = 1800.0  # seconds of simulated time that a session may take


@dataclass(frozen=True)
class ShownPage:
    """A page that a session was shown."""

    user: str
    session: str
    number: int  # of the session, from 0
    asked_at: float  # time.monotonic
    items: tuple[str, ...]
    answer: dict[str, Any]


@dataclass
class Tally:
    """What happened."""

    sessions: int = 0
    answers: int = 0
    shown: int = 0
    events: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How sessions go."""

    venue: str
    page_size: int = 20
    pages: int = 2  # of a session, at most
    parallel: int = 8
    pause: float = 0.0  # real seconds between an order and the next page
    max_seconds: float = float("inf")


class Driver:
    """Sessions of simulated shoppers against one running service."""

    def __init__(
        self,
        url: str,
        shoppers: Shoppers,
        habits: Habits,
        *,
        run: str,
        on_page: Callable[[ShownPage], None] = lambda _: None,
        on_order: Callable[[str, str, float], None] = lambda _user, _item, _at: None,
    ) -> None:
        """`run` makes event ids new; `on_order` is told user, item and when the 202 came."""
        host = httpx.URL(url).host
        if host not in _LOOPBACK:
            expected = "a loopback address: simulated shoppers visit nobody else"
            raise FieldError("url", url, expected)
        self._url = url
        self._shoppers = shoppers
        self._habits = habits
        self._run = run
        self._ids = itertools.count()
        self._on_page = on_page
        self._on_order = on_order
        self.tally = Tally()

    def drive(self, visits: Iterable[Visit]) -> Tally:
        """Run sessions, in the order of their times, some at once; stops at the time limit."""
        asyncio.run(self._drive(iter(visits)))
        return self.tally

    async def _drive(self, waiting: Iterator[Visit]) -> None:
        began = time.monotonic()
        limits = httpx.Limits(max_connections=self._habits.parallel)
        async with httpx.AsyncClient(base_url=self._url, limits=limits, timeout=30.0) as client:

            async def worker() -> None:
                for visit in waiting:
                    if time.monotonic() - began > self._habits.max_seconds:
                        return
                    await self._session(client, visit)

            await asyncio.gather(*(worker() for _ in range(self._habits.parallel)))
        self.tally.seconds = time.monotonic() - began

    async def _session(self, client: httpx.AsyncClient, visit: Visit) -> None:
        user, at = self._shoppers.name(visit.user), visit.at
        session, token = f"{self._run}-s{visit.number}", None
        pages = int(self._shoppers.rng.integers(1, self._habits.pages + 1))
        for number in range(pages):
            asked_at = time.monotonic()
            answer = await self._page(client, user, session, number, token)
            block = answer["blocks"][0]
            items = tuple(item["item_id"] for item in block["items"])
            shown = ShownPage(user, session, number, asked_at, items, answer)
            self.tally.answers += 1
            self.tally.shown += len(items)
            self.tally.degraded.update(answer["degraded"])
            self._on_page(shown)
            if not items:
                break
            at, bought = await self._look(client, visit, shown, at)
            token = None if bought else block["next_page_token"]  # a buyer comes back to the start
            if bought and self._habits.pause:
                await asyncio.sleep(self._habits.pause)
        self.tally.sessions += 1

    async def _page(
        self, client: httpx.AsyncClient, user: str, session: str, number: int, token: str | None
    ) -> dict[str, Any]:
        body = {
            "user": {"id": user, "visitor_id": f"device-{user}"},
            "session_id": session,
            "page_view_id": f"{session}-{number}",
            "blocks": [{"page_size": self._habits.page_size, "page_token": token}],
        }
        return await self._send(client, f"/v1/venues/{self._habits.venue}:recommend", body)

    async def _look(
        self, client: httpx.AsyncClient, visit: Visit, page: ShownPage, at: float
    ) -> tuple[float, bool]:
        """Report a page and react to it; returns when that is done, and if there was an order."""
        listed = page.answer["blocks"][0]["items"]
        positions = np.array([item["position"] for item in listed])
        reaction = self._shoppers.react(visit.user, page.items, positions, at)
        make = _Events(self, page, listed)
        shown = [make(EventType.IMPRESSION, place, at) for place in range(len(listed))]
        await self._report(client, shown)
        acts, at, orders = _acts(make, reaction, at, visit.at + _LONGEST_SESSION)
        await self._report(client, acts)
        await self._report(client, orders)
        done = time.monotonic()
        for event in orders:
            self._shoppers.order(visit.user, event["item_id"], at)
            self._on_order(page.user, event["item_id"], done)
        return at + 5.0, bool(orders)

    async def _report(self, client: httpx.AsyncClient, events: list[dict[str, Any]]) -> None:
        for first in range(0, len(events), MAX_EVENTS):
            some = events[first : first + MAX_EVENTS]
            answer = await self._send(client, "/v1/events", {"events": some})
            refused = {one["index"] for one in answer["rejected"]}
            self.tally.events.update(
                event["event_type"] for n, event in enumerate(some) if n not in refused
            )
            self.tally.rejected.update(one["error"].split(":")[0] for one in answer["rejected"])

    async def _send(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Post, again where the service says that it is busy."""
        for attempt in range(_TRIES):
            response = await client.post(path, json=body)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(0.1 * 2**attempt)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def event_id(self) -> str:
        """Return an id that no other event of this run has."""
        return f"{self._run}-{next(self._ids)}"


class _Events:
    """Makes the events of one page."""

    def __init__(self, driver: Driver, page: ShownPage, listed: list[dict[str, Any]]) -> None:
        self._driver, self._page, self._listed = driver, page, listed

    def __call__(self, kind: EventType, place: int, at: float) -> dict[str, Any]:
        entry, page = self._listed[place], self._page
        event: dict[str, Any] = {
            "event_id": self._driver.event_id(),
            "event_type": kind.value,
            "timestamp": datetime.fromtimestamp(at, tz=UTC).isoformat(),
            "item_id": entry["item_id"],
            "user_id": page.user,
            "visitor_id": f"device-{page.user}",
            "session_id": page.session,
            "page_view_id": f"{page.session}-{page.number}",
            "attribution_token": page.answer["attribution_token"],
        }
        if kind is EventType.ORDER:
            price, listed = entry["item"]["price"], entry["item"]["base_price"]
            event |= {"order_id": f"{page.session}-{page.number}", "quantity": 1.0}
            event |= {"value": price, "list_value": listed} if price else {}
        return event


def _acts(
    make: _Events, reaction: Reaction, at: float, latest: float
) -> tuple[list[dict[str, Any]], float, list[dict[str, Any]]]:
    """Clicks, carts and shares in the order of the page, then the orders; none after `latest`."""
    acts, orders = [], []
    for place in np.flatnonzero(reaction.clicked).tolist():
        at = min(at + 8.0, latest)
        acts.append(make(EventType.CLICK, place, at))
        if reaction.shared[place]:
            acts.append(make(EventType.SHARE, place, min(at + 2.0, latest)))
        if reaction.carted[place]:
            acts.append(make(EventType.CART, place, min(at + 4.0, latest)))
    at = min(at + 30.0, latest)
    orders = [
        make(EventType.ORDER, place, at) for place in np.flatnonzero(reaction.ordered).tolist()
    ]
    return acts, at, orders

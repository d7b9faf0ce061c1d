"""A replica that cannot hear what changed says so, on its pages and in `/readyz`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qianmian.contracts import topics
from qianmian.contracts.api import Readiness
from qianmian.errors import EventStoreError
from qianmian.events.changes import Change
from qianmian.venues.inventory import Fact, encode
from serving.http import build_app
from serving.listener import FIRST_LOOK_SECONDS, GRACE_SECONDS, Listener
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

#: Seconds between two looks: none but those that tests make.
EVERY = 3600.0


class Engine:
    """The topics of a shop, which fail or hang when a test says so."""

    def __init__(self, shop: VenueService) -> None:
        self._changes = shop.engine.changes
        self.well = True
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()

    def since(self, cursor: int, limit: int = 10_000) -> tuple[list[Change], int]:
        self.asked.set()
        self.answers.wait()
        if not self.well:
            raise EventStoreError("not reachable")
        return self._changes.since(cursor, limit)


class Shop:
    """The service whose listener hears an engine that may fail, at a time that tests set."""

    def __init__(self, home: Path) -> None:
        self.service = service(home)
        self.engine = Engine(self.service)
        self.now = 0.0
        self.listen(EVERY)

    def listen(self, every: float) -> None:
        metrics, goods = self.service.metrics, self.service.catalogue.goods
        listener = Listener(
            self.engine, every=every, on_failure=metrics.failed, clock=lambda: self.now
        )
        listener.subscribe(topics.INVENTORY, goods.pushed.take)
        self.service.listener = listener

    def look(self) -> None:
        self.service.listener._look()

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(build_app(self.service))
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return await client.request(method, path, content=json.dumps(body))

        return asyncio.run(go())

    def degraded(self) -> list[str]:
        answer = self.ask("POST", "/v1/venues/all:recommend", {"user": {"id": "anna"}})
        degraded: list[str] = answer.json()["degraded"]
        return degraded

    def ready(self) -> tuple[int, str]:
        answer = self.ask("GET", "/readyz")
        return answer.status_code, Readiness.model_validate_json(answer.content).facts


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    made = Shop(tmp_path)
    yield made
    made.service.close()


def test_pages_say_that_nothing_was_heard_for_a_while(shop: Shop) -> None:
    shop.service.start()
    assert (shop.degraded(), shop.ready()) == ([], (200, "current"))
    shop.engine.well = False
    shop.now += EVERY + GRACE_SECONDS
    shop.look()
    assert (shop.degraded(), shop.ready()) == ([], (200, "current")), "within the grace"
    shop.now += 0.1
    shop.look()
    assert (shop.degraded(), shop.ready()) == (["facts_may_be_old"], (200, "old"))
    shop.engine.well = True
    shop.look()
    assert (shop.degraded(), shop.ready()) == ([], (200, "current"))


def test_an_engine_that_hangs_is_told_of_before_it_fails(shop: Shop) -> None:
    shop.listen(every=0.01)
    shop.service.start()
    shop.engine.answers.clear()
    shop.engine.asked.clear()
    assert shop.engine.asked.wait(5)
    shop.now += 0.1 + GRACE_SECONDS
    try:
        assert (shop.degraded(), shop.ready()) == (["facts_may_be_old"], (200, "old"))
    finally:
        shop.engine.answers.set()


def test_a_replica_that_never_heard_anything_is_not_ready_but_not_for_ever(shop: Shop) -> None:
    shop.engine.well = False
    shop.service.start()
    assert (shop.degraded(), shop.ready()) == (["facts_may_be_old"], (503, "awaited"))
    shop.now += FIRST_LOOK_SECONDS
    assert (shop.degraded(), shop.ready()) == (["facts_may_be_old"], (200, "awaited"))
    shop.engine.well = True
    shop.look()
    assert (shop.degraded(), shop.ready()) == ([], (200, "current"))


def test_it_is_ready_with_the_first_look(shop: Shop) -> None:
    shop.engine.well = False
    shop.service.start()
    assert shop.ready() == (503, "awaited")
    shop.engine.well = True
    shop.look()
    assert shop.ready() == (200, "current")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stock|all|i059", b'"none"'),
        ("stock|all|i059", b"nul"),
        ("stock|all|i059", b"1e999"),
        ("stocks|all|i059", b"0"),
        ("i059", b"0"),
    ],
)
def test_a_fact_that_cannot_be_read_costs_itself_only(shop: Shop, key: str, value: bytes) -> None:
    shop.service.start()
    told = encode([Fact("stock", "", tiny.item_id(n), 0.0) for n in range(40)])
    items = list(told.items())
    told = dict([*items[:20], (key, value), *items[20:]])
    shop.service.engine.changes.put(topics.INVENTORY, told)
    shop.look()
    body = {"user": {"id": "anna"}, "blocks": [{"page_size": 60}]}
    page = shop.ask("POST", "/v1/venues/all:recommend", body).json()
    shown = {item["item_id"] for item in page["blocks"][0]["items"]}
    assert shown == {tiny.item_id(n) for n in range(40, 60)}
    assert 'degraded_total{reason="subscriber_failed"} 1.0' in shop.ask("GET", "/metrics").text

"""An order is honoured from the 202 on, by every replica, and with no stream running at all."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from qianmian.contracts import topics
from qianmian.errors import EventStoreError
from qianmian.events.bought import Purchase
from qianmian.events.engine import EngineSettings, RedisEngine, SqliteEngine
from qianmian.identity.gate import PrivacySettings
from qianmian.venues import VenueBook
from qianmian.venues.eligibility import EligibilityFile
from serving.http import build_app
from serving.service import VenueService
from tests.redis_server import RedisServer, needs_redis
from tests.serving import tiny
from tests.serving.conftest import VENUES
from tests.serving.ingest.test_route import at
from tests.serving.shop import service

RULE = EligibilityFile(bought_within_days=30)
BOOK = {**VENUES, "all": replace(VENUES["all"], eligibility=RULE)}
ANNA = {"id": "anna"}
Open = Callable[..., VenueService]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="qm") as folder:
        server = RedisServer(Path(folder))
        yield server
        server.kill()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def engine(request: pytest.FixtureRequest) -> EngineSettings:
    if request.param == "sqlite":
        return SqliteEngine()
    import redis

    server = request.getfixturevalue("redis_server")
    redis.Redis.from_url(server.url).flushall()
    return RedisEngine(kind="redis", url=server.url)


@pytest.fixture
def open_replica(tmp_path: Path, engine: EngineSettings) -> Iterator[Open]:
    """Opens another replica of one shop; none of them is started."""
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    opened: list[VenueService] = []

    def open_(**settings: Any) -> VenueService:
        settings = {"book": VenueBook(BOOK), "engine": engine, **settings}
        opened.append(service(tmp_path, **settings))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def post(shop: VenueService, path: str, body: Any, method: str = "POST") -> dict[str, Any]:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(build_app(shop), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.request(method, path, content=json.dumps(body))

    response = asyncio.run(go())
    assert response.is_success, response.text
    return response.json()


def send(shop: VenueService, *events: dict[str, Any]) -> dict[str, Any]:
    return post(shop, "/v1/events", {"events": list(events)})


def order(item: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    given = {"event_id": f"o{number}", "event_type": "order", "timestamp": at(), "item_id": item}
    return {**given, **(fields or {"user_id": "anna"})}


def page(shop: VenueService, user: dict[str, str] = ANNA, venue: str = "all") -> list[str]:
    body = {"user": user, "blocks": [{"page_size": 10}]}
    answer = post(shop, f"/v1/venues/{venue}:recommend", body)
    return [item["item_id"] for item in answer["blocks"][0]["items"]]


def within_a_second(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 1.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def failures(shop: VenueService, reason: str) -> float:
    value = shop.metrics.registry.get_sample_value
    return value("qianmian_degraded_total", {"reason": reason}) or 0.0


def test_the_very_next_page_does_not_hold_what_was_ordered(open_replica: Open) -> None:
    shop = open_replica()
    before, elsewhere = page(shop), page(shop, venue="sale")
    item = next(one for one in before if one in elsewhere)
    misses = shop.users.misses
    assert send(shop, order(item))["accepted"] == 1
    after = page(shop)
    assert item not in after
    assert after[: before.index(item)] == before[: before.index(item)]
    assert shop.users.misses == misses, "the shopper is still remembered"
    assert page(shop, venue="sale") == elsewhere, "that venue forbids nothing"
    assert page(shop, {"id": "ben"}) == page(open_replica(), {"id": "ben"})


def test_the_page_says_why(open_replica: Open) -> None:
    shop = open_replica()
    item = tiny.item_id(50)
    body = {"user": ANNA, "params": {"explain": True}}

    def removed() -> int:
        answer = post(shop, "/v1/venues/all:recommend", body)
        return answer["blocks"][0]["explain"]["removed"].get("already_bought", 0)

    ledger = removed()
    send(shop, order(item), order(item, 2), order("i003", 3))
    assert removed() == ledger + 1, "one more, and one that the ledger holds as well"


def test_other_replicas_hide_it_within_their_look(open_replica: Open) -> None:
    one, other = open_replica(), open_replica()
    other.start()
    item = page(other)[0]
    send(one, order(item))
    within_a_second(lambda: item not in page(other))


def test_a_replica_that_starts_later_knows_it_at_once(open_replica: Open) -> None:
    first = open_replica()
    item = page(first)[0]
    send(first, order(item))
    second = open_replica()
    assert item in page(second), "not started"
    second.start()
    assert item not in page(second)


def test_the_order_of_a_device_is_its_users_once_they_are_one(open_replica: Open) -> None:
    one, other = open_replica(), open_replica()
    one.start()
    other.start()
    device = {"visitor_id": "d-1"}
    item = page(one)[0]
    send(one, order(item, visitor_id="d-1"))
    assert item not in page(one, device)
    assert item in page(one), "two people, as far as is known"
    post(one, "/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"})
    for shop in (one, other):
        within_a_second(lambda shop=shop: item not in page(shop))
        within_a_second(lambda shop=shop: item not in page(shop, device))
    post(one, "/v1/users:unmerge", {"visitor_id": "d-1"})
    within_a_second(lambda: item in page(other))


def test_pseudonyms_alone_are_told(open_replica: Open, tmp_path: Path) -> None:
    private = PrivacySettings(pseudonymise=True)
    one, other = open_replica(privacy=private), open_replica(privacy=private)
    item = page(one)[0]
    send(one, order(item))
    assert item not in page(one)
    other.start()
    assert item not in page(other)
    assert not any("anna" in key for key in one.engine.changes.get(topics.BOUGHT))


def test_who_is_forgotten_is_forgotten_here_too(open_replica: Open) -> None:
    private = PrivacySettings(settle_seconds=0.1)
    one, other = open_replica(privacy=private), open_replica(privacy=private)
    for shop in (one, other):
        shop.start()
    send(one, order("i001"), order("i002", 2), order("i001", 3, user_id="ben"))
    within_a_second(lambda: len(other.bought) == len(one.bought) == 3)
    receipt = post(one, "/v1/users/anna:forget", {})["receipt_id"]
    deadline = time.monotonic() + 20
    while post(one, f"/v1/receipts/{receipt}", None, "GET")["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert one.engine.changes.get(topics.BOUGHT).keys() == {'["ben","i001"]'}
    within_a_second(lambda: len(other.bought) == len(one.bought) == 1)


def test_an_order_that_is_sent_again_is_told_again(open_replica: Open) -> None:
    """The replica that took it first may have died before it told anybody."""
    one, other = open_replica(), open_replica()
    item = page(one)[0]
    send(one, order(item))
    assert send(other, order(item)) == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert item not in page(other)


def test_nothing_else_is_told_of(open_replica: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_replica()
    monkeypatch.setattr(shop.engine.changes, "put", lambda *_: 1 / 0)
    quarantined, clicked = order("nobody knows it"), order("i001", 2, event_type="click")
    assert send(shop, quarantined, {**clicked, "user_id": "anna"})["accepted"] == 2
    assert len(shop.bought) == 0
    free = open_replica(book=VenueBook(VENUES))
    monkeypatch.setattr(free.engine.changes, "put", lambda *_: 1 / 0)
    assert send(free, order("i001", 3))["accepted"] == 1
    assert len(free.bought) == 0, "no venue has a rule on it"


def test_an_order_is_taken_where_the_others_cannot_be_told(
    open_replica: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_replica()
    item = page(shop)[0]

    def full(*_: object) -> None:
        raise EventStoreError("no space left")

    monkeypatch.setattr(shop.engine.changes, "put", full)
    assert send(shop, order(item))["accepted"] == 1
    assert item not in page(shop)
    assert failures(shop, "orders_untold") == 1


def test_the_topic_reads_as_it_was_written() -> None:
    odd = Purchase('visitor:"千", |', "i\n1", 1.25, 2.5)
    assert Purchase.read(odd.key, odd.value) == odd

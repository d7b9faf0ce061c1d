"""A Redis that takes connections and stays silent holds up no page."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
import redis as redis_client
from starlette.types import ASGIApp

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.files import Reading
from qianmian.campaigns.places import SponsoredFile
from qianmian.campaigns.purse import READ_SECONDS, open_purse
from qianmian.events.engine import RedisEngine
from qianmian.venues import VenueBook
from qianmian.workspace import Workspace
from serving.http import build_app
from tests.redis_server import RedisServer, needs_redis
from tests.serving import tiny
from tests.serving.conftest import VENUES
from tests.serving.feed.market_shop import campaign
from tests.serving.shop import KnownUsers, service

pytestmark = needs_redis

BREAD = campaign("bread", bid=0.5, pricing="fixed", frequency={"impressions": 9, "hours": 24})
SALE = replace(VENUES["sale"], sponsored={"main": SponsoredFile(positions=(2,), floor=0.0)})
USERS = [f"u{n}" for n in range(20)]


class OnRedis(KnownUsers):
    """An online store whose client gives up after a while."""

    SECONDS = 0.2

    def __init__(self, redis: RedisServer) -> None:
        self._client = redis_client.Redis.from_url(redis.url, socket_timeout=self.SECONDS)

    def online_user(self, user_id: str) -> Mapping[str, object] | None:
        self._client.get(user_id)
        return super().online_user(user_id)


class Shop:
    """The service with engine, ledger, showings and features on Redis."""

    def __init__(self, home: Path, redis: RedisServer) -> None:
        self.redis = redis
        engine = RedisEngine(kind="redis", url=redis.url)
        self.service = service(
            home,
            engine=engine,
            book=VenueBook({"sale": SALE}),
            campaigns=CampaignBook(lambda: Reading({"bread": BREAD})),
            purse=open_purse(engine, Workspace(home, tiny.DATASET)),
            users=OnRedis(redis),
        )
        self.app = build_app(self.service)

    def pages(self, users: Sequence[str]) -> list[dict[str, Any]]:
        """The pages of some shoppers who ask at once; each has the `seconds` that it took."""

        async def page(client: httpx.AsyncClient, user: str) -> dict[str, Any]:
            began = monotonic()
            body = json.dumps({"user": {"id": user}})
            answer = await client.post("/v1/venues/sale:recommend", content=body)
            return {**answer.json(), "seconds": monotonic() - began}

        async def go() -> list[dict[str, Any]]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return list(await asyncio.gather(*(page(client, user) for user in users)))

        return asyncio.run(go())

    def sold(self, user: str) -> bool:
        (page,) = self.pages([user])
        return any(item["slot"] == "sponsored" for item in page["blocks"][0]["items"])


@contextmanager
def running(app: ASGIApp) -> Iterator[None]:
    """Run an app from its start to its end, as a server does."""
    started, ending = threading.Event(), threading.Event()

    async def receive() -> dict[str, str]:
        if started.is_set():
            await asyncio.to_thread(ending.wait)
            return {"type": "lifespan.shutdown"}
        return {"type": "lifespan.startup"}

    async def send(_: object) -> None:
        started.set()

    server = threading.Thread(target=lambda: asyncio.run(app({"type": "lifespan"}, receive, send)))
    server.start()
    assert started.wait(20)
    yield
    ending.set()
    server.join()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    with tempfile.TemporaryDirectory(prefix="qm") as folder:  # socket paths must be short
        redis = RedisServer(Path(folder))
        made = Shop(tmp_path, redis)
        with running(made.app):
            yield made
            redis.resume()
        redis.kill()


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not come about"
        sleep(0.1)


def test_pages_come_though_redis_hangs_and_sell_again_when_it_answers(shop: Shop) -> None:
    assert shop.sold("anna")
    shop.redis.suspend()
    sleep(0.3)  # what was read of the shopper is good for a moment
    for users in (["anna"], ["ben"], USERS, USERS):
        for page in shop.pages(users):
            assert page["seconds"] < 1.0
            assert len(page["blocks"][0]["items"]) == 10
            assert "no_sponsored" in page["degraded"]
    missing = {"facts_may_be_old", "no_sponsored", "user_features_unavailable"}
    wait_for(lambda: set(shop.pages(["ben"])[0]["degraded"]) == missing)
    assert max(page["seconds"] for page in shop.pages(USERS)) < 1.0, "a read has failed meanwhile"
    shop.redis.resume()
    wait_for(lambda: shop.sold("ben"))
    wait_for(lambda: shop.pages(["anna"])[0]["degraded"] == [])


def test_only_the_first_pages_wait_at_all(shop: Shop) -> None:
    shop.redis.suspend()
    shop.pages(USERS)
    asked = shop.service.market.showings.knows
    assert all(asked(user) for user in ("ben", *USERS)), "nobody is to be read for now"


def test_what_else_runs_on_threads_does_not_wait_for_reads(shop: Shop) -> None:
    shop.redis.suspend()

    async def go() -> float:
        transport = httpx.ASGITransport(shop.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            bodies = [json.dumps({"user": {"id": user}}) for user in USERS]
            path = "/v1/venues/sale:recommend"
            await asyncio.gather(*(client.post(path, content=body) for body in bodies))
            began = monotonic()
            await asyncio.to_thread(sleep, 0)
            return monotonic() - began

    assert asyncio.run(go()) < READ_SECONDS, "the reads themselves hang for longer"

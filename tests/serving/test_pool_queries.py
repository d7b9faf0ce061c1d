"""A pool's query follows prices and stock, whenever and before whichever start they were pushed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from qianmian.contracts import features as f
from qianmian.contracts import topics
from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.events.engine import Engine
from qianmian.venues import VenueBook
from qianmian.venues.conditions import Condition
from qianmian.venues.inventory import EVERY_VENUE, Fact, encode
from qianmian.venues.pool import PoolFile
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.conftest import VENUES
from tests.serving.shop import service

CHEAP = {tiny.item_id(n) for n in range(10) if n != 7}  # below 2; nothing is known of the seventh
OpenShop = Callable[..., VenueService]


@pytest.fixture
def open_shop(tmp_path: Path) -> Iterator[OpenShop]:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    opened: list[VenueService] = []

    def open_(query: str, *items: str, **settings: Any) -> VenueService:
        pool = PoolFile(items=items, query=Condition.read(query))
        book = VenueBook({**VENUES, "sale": replace(VENUES["sale"], pool=pool)})
        opened.append(service(tmp_path, book=book, **settings))
        return opened[-1]

    yield open_
    for shop in opened:
        shop.close()


def push(engine: Engine, *facts: tuple[str, str, float | None], venue: str = EVERY_VENUE) -> None:
    said = [Fact(field, venue, item, value) for field, item, value in facts]
    engine.changes.put(topics.INVENTORY, encode(said))


def block(shop: VenueService) -> dict[str, Any]:
    body = {
        "user": {"id": "anna"},
        "blocks": [{"page_size": 50}],
        "params": {"explain": True},
    }
    answer = shop.recommend("sale", RECOMMEND_REQUEST.validate_json(json.dumps(body)))
    found: dict[str, Any] = answer["blocks"][0]
    return found


def shown(shop: VenueService) -> set[str]:
    return {item["item_id"] for item in block(shop)["items"]}


def test_what_becomes_dear_goes_at_once_and_what_becomes_cheap_comes(open_shop: OpenShop) -> None:
    shop = open_shop("price < 2")
    assert shown(shop) == CHEAP
    push(shop.engine, ("price", "i001", 50.0), ("price", "i059", 0.5))
    shop.listener.catch_up()
    assert shown(shop) == CHEAP - {"i001"}, "before the pool is laid out anew"
    shop.refresh()
    assert shown(shop) == CHEAP - {"i001"} | {"i059"}


def test_the_running_service_follows_by_itself(open_shop: OpenShop) -> None:
    shop = open_shop("price < 2", reorder_seconds=0.01)
    shop.start()
    for price, expected in ((0.5, CHEAP | {"i059"}), (None, CHEAP)):
        push(shop.engine, ("price", "i059", price), venue="sale")
        until = monotonic() + 5
        while shown(shop) != expected:
            assert monotonic() < until
            shop.refresh()  # as the watcher does
            sleep(0.01)


def test_a_replica_that_starts_later_knows_what_was_pushed(open_shop: OpenShop) -> None:
    first = open_shop("price < 2")
    push(first.engine, ("price", "i001", 50.0), ("price", "i059", 0.5))
    later = open_shop("price < 2")
    later.start()
    assert shown(later) == CHEAP - {"i001"} | {"i059"}


def test_what_is_listed_stays_whatever_the_query_says(open_shop: OpenShop) -> None:
    shop = open_shop("price < 2", "i001", "i040", "unheard of")
    push(shop.engine, ("price", "i001", 50.0), ("price", "i002", 50.0))
    shop.listener.catch_up()
    assert shown(shop) == CHEAP - {"i002"} | {"i040"}
    shop.refresh()
    assert shown(shop) == CHEAP - {"i002"} | {"i040"}


def test_the_page_says_how_many_the_query_let_go(open_shop: OpenShop) -> None:
    shop = open_shop("price < 2")
    push(shop.engine, ("price", "i001", 50.0), ("price", "i002", 50.0))
    shop.listener.catch_up()
    assert block(shop)["explain"]["removed"] == {"pool_query": 2}


def test_a_query_follows_statistics(open_shop: OpenShop) -> None:
    shop = open_shop("price < 2", reorder_seconds=0.01)
    world = shop.worlds.world
    assert world is not None
    table = world.release.bundle.items
    assert table.index_of("i059") == 59
    values = table.statistics[59].copy()
    values[f.ITEM_STATISTICS_NUMERIC.index(f.PAID_PRICE)] = 1.5
    told = {
        topics.AS_OF: tiny.NOW,
        **dict(zip(f.ITEM_STATISTICS_NUMERIC, map(float, values), strict=True)),
        f.FIRST_SEEN_AT: tiny.NOW,
        f.LAST_SEEN_AT: tiny.NOW,
    }
    shop.engine.changes.put(topics.ITEM_STATISTICS, {"i059": json.dumps(told).encode()})
    shop.listener.catch_up()
    shop.refresh()
    assert shown(shop) == CHEAP | {"i059"}


def test_pools_stay_as_they_are_while_their_queries_select_the_same(open_shop: OpenShop) -> None:
    shop = open_shop("price < 2", reorder_seconds=0.01)
    assert shop.worlds.world is not None
    before = shop.worlds.world.release.pools
    push(shop.engine, ("stock", "i001", 0.0), ("price", "i001", 1.9))
    shop.listener.catch_up()
    shop.refresh()
    assert shop.worlds.world.release.pools == before
    push(shop.engine, ("price", "i059", 0.5))
    shop.listener.catch_up()
    shop.refresh()
    after = shop.worlds.world.release.pools
    assert after["sale"].stamp != before["sale"].stamp
    assert after["all"] is before["all"], "a venue without a query is left alone"

"""Frequency caps of a shopper whose device became an account, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.files import Reading
from qianmian.campaigns.purse import open_purse
from qianmian.events.engine import SqliteEngine
from qianmian.venues import VenueBook
from qianmian.workspace import Workspace
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.feed.market_shop import campaign
from tests.serving.shop import service
from tests.serving.test_people import Send, sender, within_a_second
from tests.serving.test_selling import SALE

CAPPED = campaign("bread", frequency={"impressions": 2, "hours": 1})


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[VenueService]]:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    shops = [
        service(
            tmp_path,
            book=VenueBook({"sale": SALE}),
            campaigns=CampaignBook(lambda: Reading({"bread": CAPPED})),
            purse=open_purse(SqliteEngine(), Workspace(tmp_path, tiny.DATASET)),
        )
        for _ in range(2)
    ]
    for shop in shops:
        shop.start()
    yield shops
    for shop in shops:
        shop.close()


def advertised(send: Send, **user: str) -> bool:
    answer = send("/v1/venues/sale:recommend", {"user": user}).json()
    assert not answer["degraded"]
    return any(item["slot"] == "sponsored" for item in answer["blocks"][0]["items"])


def test_what_the_device_saw_counts_for_the_account(replicas: list[VenueService]) -> None:
    one, other = map(sender, replicas)
    assert [advertised(one, visitor_id="d-1") for _ in range(3)] == [True, True, False]
    assert one("/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"}).status_code == 200
    within_a_second(lambda: all(len(shop.gate.identity) == 1 for shop in replicas))
    assert not advertised(one, id="anna")
    assert not advertised(one, visitor_id="d-1")
    replicas[0].market.refresh()  # writes what it showed
    assert not advertised(other, id="anna")
    assert advertised(other, id="ben")
    assert one("/v1/users:unmerge", {"visitor_id": "d-1"}).status_code == 200
    within_a_second(lambda: not len(replicas[0].gate.identity))
    assert advertised(one, id="anna")
    assert not advertised(one, visitor_id="d-1")


def test_all_that_is_counted_is_read_beforehand(replicas: list[VenueService]) -> None:
    shop = replicas[0]
    read = shop.market.reads(("anna", "visitor:d-1"), "sale", tiny.NOW)
    assert read is not None
    read.run()
    assert shop.market.reads(("anna", "visitor:d-1"), "sale", tiny.NOW) is None
    assert shop.market.reads((), "sale", tiny.NOW) is None

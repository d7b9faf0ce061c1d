"""From a sold place to the charge: HTTP, the event log and the stream's billing, restarts too."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from qianmian.campaigns.billing import Billing
from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.files import Reading
from qianmian.campaigns.frequency import Showing
from qianmian.campaigns.ledger import Balance
from qianmian.campaigns.places import SponsoredFile
from qianmian.campaigns.purse import open_purse
from qianmian.campaigns.report import report
from qianmian.contracts import topics
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.racing.counting import RaceCounting, read_states
from qianmian.racing.schema import RaceFile
from qianmian.venues import VenueBook
from qianmian.workspace import Workspace
from serving.http import build_app
from tests.serving import tiny
from tests.serving.conftest import VENUES
from tests.serving.feed.market_shop import campaign
from tests.serving.shop import service

CLICKS = campaign("bread", bid=0.5, pricing="fixed")
VIEWS = campaign("milk", bid=2.0, billing="cpm", pricing="fixed", items=["i012"])
SALE = replace(
    VENUES["sale"],
    sponsored={"main": SponsoredFile(positions=(2, 5), floor=0.0)},
    racing={"banner": RaceFile(block="main", creatives=("snow", "gifts"))},
)


class Shop:
    """The service with its market, and the parts of the stream beside it."""

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace(home, tiny.DATASET)
        self.book = CampaignBook(lambda: Reading({"bread": CLICKS, "milk": VIEWS}))
        self.service = service(
            home, book=VenueBook({"sale": SALE}), campaigns=self.book, purse=self.purse()
        )
        self.service.start()
        self.engine = open_engine(SqliteEngine(), self.workspace)

    def purse(self):
        return open_purse(SqliteEngine(), self.workspace)

    def post(self, path: str, body: dict) -> dict:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(build_app(self.service))
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return await client.post(path, content=json.dumps(body))

        return asyncio.run(go()).json()

    def page(self) -> dict:
        body = {"user": {"id": "anna"}, "page_view_id": "v1"}
        return self.post("/v1/venues/sale:recommend", body)

    def send(self, page: dict, *happened: tuple[str, str, str]) -> dict:
        at = datetime.fromtimestamp(tiny.NOW, tz=UTC).isoformat()
        events = [
            {
                "event_id": event_id,
                "event_type": event_type,
                "item_id": item,
                "timestamp": at,
                "user_id": "anna",
                "value": 4.0,
                "attribution_token": page["attribution_token"],
            }
            for event_id, event_type, item in happened
        ]
        return self.post("/v1/events", {"events": events})

    def settle(self, seconds: float = 0.0) -> dict[str, Balance]:
        """Have a new stream process do its work once."""
        purse = self.purse()
        Billing(self.engine.events, purse.ledger, self.book).flush(tiny.NOW + seconds)
        races = {"sale": SALE.racing}
        RaceCounting(self.engine.events, self.engine.changes, lambda: races).flush(tiny.NOW)
        balances = purse.ledger.balances(tiny.NOW)
        purse.shut()
        return balances


@pytest.fixture
def shop(tmp_path: Path, store):
    (tmp_path / tiny.DATASET).mkdir()
    (tmp_path / tiny.DATASET / "releases").symlink_to(store.root)
    shop = Shop(tmp_path)
    yield shop
    shop.engine.close()


def items(page: dict) -> dict[str, str]:
    shown = page["blocks"][0]["items"]
    return {one["campaign_id"]: one["item_id"] for one in shown if one["slot"] == "sponsored"}


def test_what_is_paid_for_is_charged_once_by_the_log(shop: Shop) -> None:
    page = shop.page()
    bread, milk = items(page)["bread"], items(page)["milk"]
    assert shop.settle()["bread"].spent == 0
    shop.send(page, ("e1", "impression", bread), ("e2", "impression", milk), ("e3", "click", milk))
    balances = shop.settle()
    assert (balances["bread"].spent, balances["milk"].spent) == (0, 2_000)
    shop.send(page, ("e4", "click", bread), ("e5", "click", bread), ("e2", "impression", milk))
    assert shop.send(page, ("e4", "click", bread))["duplicates"] == 1
    balances = shop.settle()
    assert (balances["bread"].spent, balances["milk"].spent) == (500_000, 2_000)
    shop.send(page, ("e6", "order", bread))
    shop.settle()
    purse = shop.purse()
    row = report(purse.ledger, [CLICKS], tiny.NOW)[0]
    purse.shut()
    assert (row.impressions, row.clicks, row.sales, row.sales_value) == (1, 2, 1, 4.0)
    assert (row.spent, row.return_on_spend) == (0.5, 8.0)
    shop.service.close()


def test_a_replica_that_left_has_given_back_what_it_did_not_use(shop: Shop) -> None:
    shop.page()
    shop.service.close()
    held = shop.settle()
    assert 0 < held["milk"].held == 2_000
    assert held["bread"].held > 0
    assert shop.settle(seconds=4_000.0)["bread"].held == 0
    assert shop.settle(seconds=4_000.0)["milk"].held == 0


def test_races_are_counted_from_the_same_log(shop: Shop) -> None:
    page = shop.page()
    creative = page["blocks"][0]["creative"]
    first, second = (one["item_id"] for one in page["blocks"][0]["items"][:2])
    shop.send(page, ("e1", "impression", first), ("e2", "impression", second))
    shop.send(page, ("e3", "click", second))
    shop.settle()
    states = read_states(shop.engine.changes.get(topics.RACING))
    sums = states["sale|banner"].arms
    assert sums.keys() == {creative}
    assert (sums[creative].trials, sums[creative].click) == (1.0, 1.0)
    shop.service.close()


def test_replicas_take_over_the_state_of_races(shop: Shop) -> None:
    page = shop.page()
    shop.send(page, ("e1", "impression", page["blocks"][0]["items"][0]["item_id"]))
    shop.settle()
    shop.service.listener.catch_up()
    assert shop.page()["racing"][0]["state_version"] == 1
    shop.service.close()


def test_a_broken_campaign_file_stops_no_service(tmp_path: Path) -> None:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    folder = tmp_path / "configs" / "campaigns"
    folder.mkdir(parents=True)
    (folder / "bread.yaml").write_text("campaign: [\n")
    book = CampaignBook.open(tmp_path / "configs", tiny.DATASET)
    purse = open_purse(SqliteEngine(), Workspace(tmp_path, tiny.DATASET))
    shop = service(tmp_path, campaigns=book, purse=purse)
    shop.start()
    readiness = shop.readiness()
    gauge = shop.metrics.registry.get_sample_value("qianmian_campaign_files_refused")
    shop.close()
    assert readiness["ready"]
    (why,) = readiness["campaign_files_refused"].values()
    assert "bread.yaml" in why
    assert gauge == 1


def test_a_slow_store_of_showings_holds_up_no_other_page(tmp_path: Path) -> None:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    capped = campaign("bread", bid=0.5, pricing="fixed", frequency={"impressions": 1, "hours": 1})
    book = CampaignBook(lambda: Reading({"bread": capped}))
    purse = open_purse(SqliteEngine(), Workspace(tmp_path, tiny.DATASET))
    shop = service(tmp_path, book=VenueBook({"sale": SALE}), campaigns=book, purse=purse)
    shop.start()
    opened, read = threading.Event(), purse.showings.of

    def slow(subject: str) -> list[Showing]:
        assert threading.current_thread() is not threading.main_thread()
        opened.wait(20)
        return read(subject)

    purse.showings.of = slow
    page = "/v1/venues/sale:recommend"

    def slots(answer: httpx.Response) -> list[str]:
        return [item["slot"] for item in answer.json()["blocks"][0]["items"]]

    async def go() -> None:
        transport = httpx.ASGITransport(build_app(shop))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:

            async def ask(body: bytes) -> httpx.Response:
                answer = await client.post(page, content=body)
                assert answer.status_code == 200
                return answer

            anna = b'{"user": {"id": "anna"}}'
            waiting = asyncio.create_task(ask(anna))
            await ask(b"{}")
            given_up = await waiting
            assert given_up.json()["degraded"] == ["no_sponsored"]
            assert "sponsored" not in slots(given_up)
            opened.set()
            sold = False
            for _ in range(100):  # the store rests for a second
                if sold := "sponsored" in slots(await ask(anna)):
                    break
                await asyncio.sleep(0.1)
            assert sold
            last = await ask(anna)
            assert not last.json()["degraded"]
            assert "sponsored" not in slots(last), "the page before had it"

    asyncio.run(go())
    shop.close()

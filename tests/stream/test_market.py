"""What pages sold and raced is settled by the stream, after its events were judged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from qianmian.campaigns.ledger import LeaseRequest
from qianmian.campaigns.purse import open_purse
from qianmian.contracts import topics
from qianmian.events.engine import SqliteEngine
from qianmian.racing.counting import read_states
from qianmian.racing.state import ArmSums
from qianmian.stream.market import market_parts
from qianmian.workspace import CONFIGS
from tests.stream.conftest import NOW, Shop, sent

BREAD = {
    "campaign": "bread",
    "advertiser": "Bakery",
    "items": ["i01"],
    "starts_at": "2024-01-01T00:00:00Z",
    "ends_at": "2034-01-01T00:00:00Z",
    "budget": 100.0,
    "billing": "cpc",
    "bid": 0.5,
}
RACE = {"banner": {"block": "main", "creatives": ["snow", "gifts"]}}


@pytest.fixture
def configs(tmp_path: Path, shop: Shop) -> Path:
    folder = tmp_path / "configs"
    venues = folder / "venues" / shop.workspace.dataset
    venues.mkdir(parents=True)
    shutil.copy(CONFIGS / "venues" / "default.yaml", folder / "venues")
    (venues / "all-year.yaml").write_text(yaml.safe_dump({"racing": RACE}))
    (folder / "campaigns").mkdir()
    (folder / "campaigns" / "bread.yaml").write_text(yaml.safe_dump(BREAD))
    return folder


class Till:
    """The ledger, and what the stream settled."""

    def __init__(self, shop: Shop, configs: Path) -> None:
        self.shop = shop
        self.ledger = open_purse(SqliteEngine(), shop.workspace).ledger
        self.ledger.fund({"bread": 100_000_000})
        request = LeaseRequest("bread", 20_000_000, 1, seconds=60.0, window=3_600.0, pooled=True)
        self.lease = self.ledger.lease("replica", [request], NOW)[0].lease_id
        self.configs = configs

    def drain(self) -> None:
        parts = market_parts(self.shop.workspace, self.shop.engine, SqliteEngine(), self.configs)
        self.shop.start(parts, read_events=10).drain()

    def happened(self, number: int, kind: str, at: float) -> None:
        sale = (self.lease, 400_000, "click", NOW + 3_600.0)
        fields = {"campaign_id": "bread", "slot": "sponsored", "sale": sale, "position": 1}
        page = {"venue_id": "all-year", "block_id": "main", "races": (("banner", "snow"),)}
        given = {"timestamp": at, "recommendation_id": f"r{number}", **fields, **page}
        self.shop.send(sent(number, "u1", "i01", kind, **given))

    def clicks(self) -> tuple[float, float]:
        """Clicks that were charged, and those that the race counted."""
        states = read_states(self.shop.engine.changes.get(topics.RACING))
        counted = states["all-year|banner"].of("snow") if states else ArmSums()
        return self.ledger.balances(NOW)["bread"].spent / 400_000, counted.click


@pytest.fixture
def till(shop: Shop, configs: Path):
    till = Till(shop, configs)
    yield till
    till.ledger.shut()


def test_what_is_not_judged_yet_is_neither_charged_nor_counted(till: Till) -> None:
    for number in range(35):
        kind = "impression" if number < 5 else "click"
        till.happened(number, kind, NOW + 0.1 * number)
    till.drain()
    charged, counted = till.clicks()
    assert charged <= 5  # clicks of the first ten events, before anybody could tell
    assert counted <= 5


def test_what_was_judged_is_charged_and_counted_before_the_stream_rests(till: Till) -> None:
    for number in range(25):
        till.happened(number, "impression" if number % 2 else "click", NOW + 60.0 * number)
    till.drain()
    assert till.clicks() == (13, pytest.approx(13, rel=0.1))
    assert till.shop.engine.events.lag("billing") == till.shop.engine.events.lag("racing") == 0

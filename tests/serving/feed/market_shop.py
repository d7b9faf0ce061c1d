"""A market for the tiny shop: campaigns, a real ledger, and a feed that sells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.files import Reading
from qianmian.campaigns.purse import Purse, open_purse
from qianmian.campaigns.schema import CampaignFile
from qianmian.events.engine import SqliteEngine
from qianmian.workspace import Workspace
from serving.feed.journey import Feed
from serving.feed.market import Market
from serving.feed.users import Users
from tests.serving import tiny

START = datetime.fromtimestamp(tiny.NOW, tz=UTC) - timedelta(days=1)


def campaign(name: str, **fields) -> Campaign:
    """A campaign that runs for two days, tiny.NOW in the middle."""
    given = {
        "campaign": name,
        "advertiser": "Somebody",
        "items": [tiny.item_id(n) for n in (10, 20, 30)],
        "starts_at": START,
        "ends_at": START + timedelta(days=2),
        "budget": 100.0,
        "billing": "cpc",
        "bid": 0.5,
        "pacing": {"curve": "fast"},
        **fields,
    }
    if given["billing"] == "cpd":
        del given["pacing"]
    return Campaign.of(CampaignFile.model_validate(given))


@dataclass
class Stall:
    """A market with a clock that tests set."""

    folder: Path
    campaigns: list[Campaign]
    now: float = tiny.NOW
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.folder, "tiny")
        self.market = Market(
            CampaignBook(lambda: Reading({one.id: one for one in self.campaigns})),
            self.purse(),
            holder="replica",
            now=lambda: self.now,
            on_failure=self.failures.append,
            registry=CollectorRegistry(),
        )
        self.market.refresh()
        self.ledger = self.purse().ledger

    def feed(self, **parts) -> Feed:
        """A feed of the tiny shop that sells here."""
        users = Users(tiny.USERS.get, size=100, ttl=60.0)
        return Feed(users=users, market=self.market, **parts)

    def purse(self) -> Purse:
        """The stores, opened as another process would."""
        return open_purse(SqliteEngine(), self.workspace)

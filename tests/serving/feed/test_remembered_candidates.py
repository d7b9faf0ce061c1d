"""What was proposed to a shopper before is shown again only where a new proposal would say no more.

Each page is compared with that of a feed which remembers nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from qianmian.releases.bundle import Bundle
from qianmian.venues import Block
from qianmian.venues.blocks import BlockKind
from qianmian.venues.eligibility import EligibilityFile
from qianmian.venues.inventory import Fact
from serving.clock import Clock, ClockSettings
from serving.feed.eligibility import Eligibility
from serving.feed.journey import Feed
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import Goods, ResidentRelease, World
from serving.feed.shelf import Offers
from serving.feed.tokens import Signer
from serving.feed.users import Users
from tests.serving import tiny
from tests.serving.feed.test_eligibility import Shop, push

ITEMS = [tiny.item_id(n) for n in range(tiny.ITEMS)]
BLOCKS = {
    "again": Block("", 10, BlockKind.BUY_AGAIN),
    "new": Block("", 10, BlockKind.NEW_ARRIVALS),
    "main": Block("", 10),
}
Shown = dict[str, list[tuple[str, str]]]


class Asked:
    """A shop that is asked for its page of three blocks."""

    def __init__(self, shop: Shop, signer: Signer, metrics: FeedMetrics) -> None:
        self.shop = shop
        self._signer = signer
        self._metrics = metrics

    def open(self, **offers: object) -> None:
        goods = Goods(offers={"v": Offers(**offers)})
        self.shop.open(goods=goods, eligibility=EligibilityFile(region=True))
        self.shop._world.venues["v"].blocks.update(BLOCKS)

    def at(self, seconds: float) -> None:
        moment = datetime.fromtimestamp(tiny.NOW + seconds, tz=UTC)
        clock = Clock.start(ClockSettings(mode="fixed", at=moment))
        self.shop._world = replace(self.shop._world, clock=clock)

    def page(self, user: str | None, region: str | None = None) -> Shown:
        """Item and source of each place, by block."""
        blocks = [{"block_id": name} for name in BLOCKS]
        answer = self.shop.ask(user, blocks=blocks, context={"region": region} if region else {})
        return {
            block["block_id"]: [(item["item_id"], item["source"]) for item in block["items"]]
            for block in answer["blocks"]
        }

    def fresh(self, user: str | None, region: str | None = None) -> Shown:
        """The page of a feed that remembers nobody."""
        remembering = self.shop._feed
        users = Users(tiny.USERS.get, size=9, ttl=60.0)
        self.shop._feed = Feed(
            users=users, signer=self._signer, metrics=self._metrics, new_id=lambda: "r"
        )
        try:
            return self.page(user, region)
        finally:
            self.shop._feed = remembering


@pytest.fixture
def asked(
    world: World, feed: Feed, release: ResidentRelease, signer: Signer, metrics: FeedMetrics
) -> Asked:
    return Asked(Shop(world, feed, release), signer, metrics)


@pytest.fixture
def proposals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom something was proposed to, each time."""
    made: list[str] = []
    propose = Bundle.propose

    def counted(self, user, *rest):
        made.append(user.user_id)
        return propose(self, user, *rest)

    monkeypatch.setattr(Bundle, "propose", counted)
    return made


SHOPPERS = pytest.mark.parametrize("user", ["anna", None])


def items_of(page: Shown) -> set[str]:
    return {item for items in page.values() for item, _ in items}


def stock(items: Iterable[str], left: float) -> list[Fact]:
    return [Fact("stock", "", item, left) for item in items]


@SHOPPERS
def test_the_first_page_of_a_sale_is_ranked(asked: Asked, user: str | None) -> None:
    asked.open(numbers={"on_sale_from": dict.fromkeys(ITEMS, tiny.NOW)})
    asked.at(-5)
    assert not any(asked.page(user).values())
    asked.at(1)
    page = asked.page(user)
    assert page == asked.fresh(user)
    assert "fallback" not in {source for items in page.values() for _, source in items}


@SHOPPERS
def test_items_that_take_the_place_of_others_are_ranked(asked: Asked, user: str | None) -> None:
    late, early = ITEMS[-5:], ITEMS[:5]
    asked.open(
        numbers={
            "on_sale_from": dict.fromkeys(late, tiny.NOW),
            "on_sale_to": dict.fromkeys(early, tiny.NOW),
        }
    )
    asked.at(-5)
    asked.page(user)
    asked.at(1)
    page = asked.page(user)
    assert page == asked.fresh(user)
    assert items_of(page) & set(late)


@SHOPPERS
def test_what_is_in_stock_again_is_ranked(asked: Asked, user: str | None) -> None:
    asked.open()
    push(asked.shop.inventory, *stock(ITEMS[30:], 0.0))
    asked.page(user)
    push(asked.shop.inventory, *stock(["i033"], 3.0))
    page = asked.page(user)
    assert page == asked.fresh(user)
    assert "i033" in items_of(page)


@SHOPPERS
def test_rules_that_failed_once_leave_no_trace(
    asked: Asked, user: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.open()

    def fail(*_: object) -> None:
        raise RuntimeError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(Eligibility, "of", fail)
        assert not any(asked.page(user).values())
    assert asked.page(user) == asked.fresh(user)


def test_stock_that_shrinks_or_comes_and_goes_asks_for_no_new_proposal(
    asked: Asked, proposals: list[str]
) -> None:
    asked.open()
    asked.page("anna")
    before = len(proposals)
    for item in ITEMS[40:48]:
        push(asked.shop.inventory, *stock([item], 0.0))
        asked.page("anna")
    for left in (3.0, 0.0, 1.0):
        push(asked.shop.inventory, *stock([ITEMS[44]], left))
        asked.page("anna")
    assert len(proposals) == before


def test_an_empty_block_is_not_proposed_anew_for_each_page(
    asked: Asked, proposals: list[str]
) -> None:
    asked.open()
    push(asked.shop.inventory, *stock(["i000"], 0.0))
    assert asked.page(None)["again"] == []
    before = len(proposals)
    assert asked.page(None)["again"] == []
    assert len(proposals) == before


@SHOPPERS
def test_regions_do_not_share_what_was_proposed(
    asked: Asked, proposals: list[str], user: str | None
) -> None:
    only = dict.fromkeys(ITEMS[-10:], frozenset({"north"}))
    asked.open(regions={**only, **dict.fromkeys(ITEMS[:10], frozenset({"south"}))})
    pages = {region: asked.page(user, region) for region in ("south", "north", "nowhere")}
    before = len(proposals)
    for region in ("north", "south", "nowhere", "somewhere", None):
        pages[region] = asked.page(user, region)
    assert len(proposals) == before
    for region, page in pages.items():
        assert page == asked.fresh(user, region)
    assert items_of(pages["north"]) & set(only)


def test_nobody_is_remembered_in_many_regions(asked: Asked, proposals: list[str]) -> None:
    regions = [f"r{n}" for n in range(30)]
    asked.open(regions={ITEMS[n]: frozenset({region}) for n, region in enumerate(regions)})
    for region in regions:
        asked.page(None, region)
    before = len(proposals)
    for region in regions:
        asked.page(None, region)
    assert len(proposals) == before

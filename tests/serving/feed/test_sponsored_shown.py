"""Sponsored places that are sold and not shown cost nothing, count nothing and hide nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from qianmian.campaigns.places import SponsoredFile
from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.venues import Block
from qianmian.venues.blocks import BlockKind
from qianmian.venues.rules import BlockRules, Pin
from serving.feed.journey import Feed
from serving.feed.resident import World
from tests.serving import tiny
from tests.serving.conftest import SALE_ITEMS
from tests.serving.feed.market_shop import Stall, campaign
from tests.serving.feed.test_journey import ids
from tests.serving.feed.test_sponsored import ask, sale, sold

EIGHTH = SponsoredFile(positions=(8,), floor=0.0)
FIRST = SponsoredFile(positions=(1,), floor=0.0)
FOUR = {"exclude_item_ids": SALE_ITEMS[4:]}  # the block has items 0, 2, 4 and 6
CAP = {"impressions": 2, "hours": 1}


def reserved(stall: Stall) -> int:
    """What exposures hold back of the budget of bread, every lease settled."""
    stall.market.wallet.settle_all()
    balance = stall.ledger.balances(tiny.NOW)["bread"]
    stall.market.refresh()
    return balance.held + balance.expected


@pytest.fixture
def open_stall(tmp_path, signer, metrics, ids) -> Callable[..., tuple[Feed, Stall]]:
    def open_(*campaigns) -> tuple[Feed, Stall]:
        stall = Stall(tmp_path, list(campaigns))
        feed = stall.feed(signer=signer, metrics=metrics, new_id=lambda: f"r{next(ids)}")
        return feed, stall

    return open_


def shown(feed: Feed, name: str = "bread") -> float:
    registry = feed._metrics.registry
    return registry.get_sample_value("qianmian_sponsored_shown_total", {"campaign": name}) or 0.0


def two_blocks(world: World, first: BlockRules, second: BlockRules, **sponsored) -> World:
    blocks = {"main": Block("Main", 4, rules=first), "more": Block("More", 4, rules=second)}
    venue = replace(world.venues["sale"], blocks=blocks, sponsored=sponsored)
    return replace(world, venues={"sale": venue})


BOTH = [{"block_id": "main"}, {"block_id": "more"}]


def pin(number: int, position: int) -> BlockRules:
    return BlockRules(pins=(Pin(item_id=tiny.item_id(number), position=position),))


def test_a_place_behind_the_last_item_is_not_sold(open_stall, make_world) -> None:
    world = sale(make_world(), EIGHTH)
    feed, stall = open_stall(campaign("bread", items=["i002"], frequency=CAP))
    for _ in range(3):
        answer = ask(feed, world, blocks=[FOUR], params={"explain": True})
        assert sorted(ids(answer)) == SALE_ITEMS[:4]
        assert answer["blocks"][0]["explain"]["skipped"] == []
    assert (shown(feed), reserved(stall)) == (0, 0)
    assert sold(ask(feed, world)) == {8: "bread"}, "it was never shown, so its cap is not reached"
    assert shown(feed) == 1
    assert reserved(stall) > 0


def test_a_block_that_ends_with_its_candidates_shows_advertised_items_besides(
    open_stall, make_world
) -> None:
    world = sale(make_world(), SponsoredFile(positions=(2, 4), floor=0.0))
    again = {"main": Block("Again", 10, kind=BlockKind.BUY_AGAIN)}
    world = replace(world, venues={"sale": replace(world.venues["sale"], blocks=again)})
    feed, _ = open_stall(campaign("bread"), campaign("milk", items=["i014"], bid=0.01))
    answer = ask(feed, world, params={"explain": True})
    assert sold(answer) == {2: "bread"}  # anna bought one item of the sale
    assert (len(ids(answer)), answer["blocks"][0]["explain"]["skipped"]) == (2, [])
    assert (shown(feed), shown(feed, "milk")) == (1, 0)


def test_what_another_block_takes_away_ends_a_block_sooner(open_stall, make_world) -> None:
    """Eight items for two blocks of six: the second one has two, and its fourth place none."""
    fourth = SponsoredFile(positions=(4,), floor=0.0)
    world = two_blocks(make_world(), BlockRules(), BlockRules(), more=fourth)
    feed, stall = open_stall(campaign("bread", items=["i002"], frequency=CAP))
    out = SALE_ITEMS[8:]
    blocks = [
        {"block_id": name, "page_size": 6, "exclude_item_ids": out} for name in ("main", "more")
    ]
    for _ in range(3):
        answer = ask(feed, world, blocks=blocks, params={"explain": True})
        assert sorted([*ids(answer), *ids(answer, 1)]) == SALE_ITEMS[:8]
        (skipped,) = answer["blocks"][1]["explain"]["skipped"]
        assert (skipped["position"], skipped["reason"]) == (4, "no_such_place")
    assert (shown(feed), reserved(stall)) == (0, 0)
    assert stall.purse().showings.of("anna") == []


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_what_any_block_of_the_page_pins_is_not_sold(
    open_stall, make_world, first: int, second: int
) -> None:
    rules = [pin(20, 2), BlockRules()]
    places = ["more", "main"][first]
    world = two_blocks(make_world(), rules[first], rules[second], **{places: FIRST})
    feed, stall = open_stall(campaign("bread", items=["i020"]))
    answer = ask(feed, world, blocks=BOTH, params={"explain": True})
    pinned = answer["blocks"][first]["items"][1]
    assert (pinned["item_id"], pinned["slot"]) == ("i020", "pinned")
    assert all(block["explain"]["skipped"] == [] for block in answer["blocks"])
    assert (shown(feed), reserved(stall)) == (0, 0)


def test_another_item_of_the_campaign_is_sold_where_one_is_pinned(open_stall, make_world) -> None:
    world = two_blocks(make_world(), pin(20, 2), BlockRules(), more=FIRST)
    feed, _ = open_stall(campaign("bread", items=["i020", "i030"]))
    answer = ask(feed, world, blocks=BOTH)
    assert sold(answer, 1) == {1: "bread"}
    assert answer["blocks"][1]["items"][0]["item_id"] == "i030"


def test_a_page_without_its_rules_gives_the_money_back(open_stall, make_world, monkeypatch) -> None:
    feed, stall = open_stall(campaign("bread", frequency={"impressions": 1, "hours": 1}))
    world = sale(make_world(), FIRST)
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            raise MemoryError("no room to lay out a page")

        broken.setattr("serving.feed.arrange.lay_out", fail)
        request = RECOMMEND_REQUEST.validate_json('{"user": {"id": "anna"}}')
        answer = feed.recommend(world, "sale", request)
    assert answer["degraded"] == ["no_rules"]
    assert (sold(answer), shown(feed), reserved(stall)) == ({}, 0, 0)
    assert sold(ask(feed, world)) == {1: "bread"}


@pytest.mark.parametrize(
    "broken", ["serving.feed.journey.build", "serving.feed.sponsored.Sales._slot"]
)
def test_an_answer_that_fails_gives_the_money_back(
    open_stall, make_world, monkeypatch, broken: str
) -> None:
    feed, stall = open_stall(campaign("bread"))
    calls = []

    def fail(*_: object) -> None:
        calls.append(broken)
        raise MemoryError("no room for an answer")

    with monkeypatch.context() as patched:
        patched.setattr(broken, fail)
        request = RECOMMEND_REQUEST.validate_json('{"user": {"id": "anna"}}')
        if broken.endswith("build"):
            with pytest.raises(MemoryError):  # of the last resort, which answers by it too
                feed.recommend(sale(make_world(), FIRST), "sale", request)
        else:
            answer = feed.recommend(sale(make_world(), FIRST), "sale", request)
            assert answer["degraded"] == ["no_sponsored"]
    assert calls
    assert (shown(feed), reserved(stall)) == (0, 0)

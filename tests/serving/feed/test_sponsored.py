"""Sponsored places in the request path, on a real tiny release and a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from qianmian.campaigns.places import SponsoredFile
from qianmian.contracts.api import RECOMMEND_REQUEST, RecommendResponse
from qianmian.errors import EventStoreError
from qianmian.experiments import Experiments, FeedParams
from qianmian.retrieval.sources import SourceQuotas
from qianmian.venues.conditions import Condition
from qianmian.venues.rules import BlockRules, Pin
from serving.feed.journey import Feed
from serving.feed.resident import World
from tests.serving import tiny
from tests.serving.feed.market_shop import START, Stall, campaign

PLACES = SponsoredFile(positions=(2, 5), floor=0.0)


@pytest.fixture
def selling(make_world: Callable[..., World]) -> World:
    return sale(make_world(), PLACES)


def sale(world: World, places: SponsoredFile, **fields) -> World:
    venue = replace(world.venues["sale"], sponsored={"main": places}, **fields)
    return replace(world, venues={**world.venues, "sale": venue})


@pytest.fixture
def shop(tmp_path, signer, metrics, ids):
    def open_(*campaigns) -> tuple[Feed, Stall]:
        stall = Stall(tmp_path, list(campaigns))
        feed = stall.feed(signer=signer, metrics=metrics, new_id=lambda: f"r{next(ids)}")
        return feed, stall

    return open_


def ask(feed: Feed, world: World, user: str | None = "anna", **body) -> dict:
    shopper = {} if user is None else {"id": user}
    request = RECOMMEND_REQUEST.validate_json(json.dumps({"user": shopper, **body}))
    answer = feed.recommend(world, "sale", request)
    RecommendResponse.model_validate_json(orjson.dumps(answer))
    assert answer["degraded"] == []
    return answer


def sold(answer: dict, block: int = 0) -> dict[int, str]:
    items = answer["blocks"][block]["items"]
    return {i["position"]: i["campaign_id"] for i in items if i["slot"] == "sponsored"}


def left_out(feed: Feed, reason: str) -> float:
    registry = feed._metrics.registry
    name = "qianmian_sponsored_left_out_total"
    return registry.get_sample_value(name, {"reason": reason}) or 0.0


def test_a_sponsored_item_is_labelled_and_stands_once(shop, selling) -> None:
    feed, _ = shop(campaign("bread", label="Ad"))
    answer = ask(feed, selling)
    assert sold(answer) == {2: "bread"}
    item = answer["blocks"][0]["items"][1]
    assert (item["slot"], item["label"], item["reason"]) == ("sponsored", "Ad", "paid_for")
    assert item["item_id"] in {"i010", "i020", "i030"}
    ids = [one["item_id"] for one in answer["blocks"][0]["items"]]
    assert len(set(ids)) == len(ids) == 10
    assert "label" not in answer["blocks"][0]["items"][0]


def test_the_token_carries_the_price_of_the_click(shop, selling, signer) -> None:
    feed, stall = shop(campaign("bread"), campaign("milk", bid=0.2, items=["i012"], billing="cpm"))
    answer = ask(feed, selling)
    assert sold(answer) == {2: "bread", 5: "milk"}
    token = signer.open_attribution(answer["attribution_token"])
    place = token.place_of(answer["blocks"][0]["items"][1]["item_id"])
    lease, price, billed, until = place.sale
    assert (place.slot, place.campaign_id, billed) == ("sponsored", "bread", "click")
    assert until == tiny.NOW + 3_600.0
    assert 1 <= price < 500_000  # what it took to keep the place before milk, 200 micros a view
    assert lease
    assert stall.ledger.balances(tiny.NOW)["bread"].held > 0


def test_only_what_the_venue_may_show_this_shopper_is_sold(shop, selling) -> None:
    feed, _ = shop(campaign("odd", items=["i011", "nowhere"]))  # the sale has even items
    assert sold(ask(feed, selling)) == {}
    assert left_out(feed, "not_eligible") == 1
    feed, _ = shop(campaign("even", items=["i010"]))
    assert sold(ask(feed, selling)) == {2: "even"}
    assert sold(ask(feed, selling, blocks=[{"exclude_item_ids": ["i010"]}])) == {}
    assert sold(ask(feed, selling, blocks=[{"filter": {"category": ["soap"]}}])) == {}


def test_an_item_far_less_likely_than_the_organic_ones_is_not_shown(shop, selling) -> None:
    feed, _ = shop(campaign("bread", items=["i002"]))
    strict = sale(selling, SponsoredFile(positions=(2,), floor=0.9))
    assert sold(ask(feed, strict)) == {}
    assert left_out(feed, "below_floor") == 1
    assert sold(ask(feed, sale(selling, SponsoredFile(positions=(2,), floor=0.1)))) == {2: "bread"}


def test_an_item_is_held_against_the_page_that_it_is_sold_on(shop, selling) -> None:
    feed, _ = shop(campaign("bread", items=["i020"]))  # of the second page, if nobody pays
    world = sale(selling, SponsoredFile(positions=(2, 12), floor=0.99))
    assert [sold(page) for page in both_pages(feed, world)] == [{}, {12: "bread"}]
    assert left_out(feed, "below_floor") == 1


def test_a_page_of_fill_up_alone_is_held_against_the_last_ranked(shop, make_world) -> None:
    few = Experiments((), FeedParams(sources=SourceQuotas.only(trending=5)))
    world = sale(make_world(few), SponsoredFile(positions=(12,), floor=0.01))
    feed, _ = shop(campaign("bread", items=["i010"]))
    assert [sold(page) for page in both_pages(feed, world)] == [{}, {12: "bread"}]


def both_pages(feed: Feed, world: World) -> list[dict]:
    first = ask(feed, world)
    token = first["blocks"][0]["next_page_token"]
    return [first, ask(feed, world, blocks=[{"page_token": token}])]


def test_pins_come_before_sponsors(shop, selling) -> None:
    block = selling.venues["sale"].blocks["main"]
    pins = BlockRules(pins=(Pin(item_id="i010", position=2),))
    world = sale(selling, PLACES, blocks={"main": replace(block, rules=pins)})
    feed, _ = shop(campaign("bread", items=["i010", "i020"]))
    answer = ask(feed, world)
    assert sold(answer) == {5: "bread"}
    assert answer["blocks"][0]["items"][1]["slot"] == "pinned"
    assert answer["blocks"][0]["items"][4]["item_id"] == "i020"


def test_places_of_later_pages_are_sold_with_their_page(shop, selling) -> None:
    feed, _ = shop(campaign("bread"))
    first = ask(feed, selling, blocks=[{"page_size": 3}])
    assert sold(first) == {2: "bread"}
    token = first["blocks"][0]["next_page_token"]
    second = ask(feed, selling, blocks=[{"page_size": 3, "page_token": token}])
    assert sold(second) == {5: "bread"}
    shown = [i["item_id"] for page in (first, second) for i in page["blocks"][0]["items"]]
    assert len(set(shown)) == 6


def test_an_audience_sees_what_is_meant_for_it(shop, selling) -> None:
    feed, _ = shop(campaign("bread", audience=Condition.read("age is known")))
    assert sold(ask(feed, selling)) == {}
    assert left_out(feed, "not_in_audience") == 1


def test_a_shopper_sees_a_campaign_as_often_as_it_may(shop, selling) -> None:
    cap = {"impressions": 2, "hours": 1}
    feed, stall = shop(campaign("bread", frequency=cap))
    assert [sold(ask(feed, selling)) for _ in range(3)] == [{2: "bread"}, {2: "bread"}, {}]
    assert sold(ask(feed, selling, "ben")) == {2: "bread"}
    stall.market.refresh()
    elsewhere, _ = shop(campaign("bread", frequency=cap))
    assert sold(ask(elsewhere, selling)) == {}
    assert left_out(feed, "capped") == 2


def test_places_stay_organic_when_the_money_is_out(shop, selling) -> None:
    feed, stall = shop(campaign("bread", budget=1.0, bid=0.5, billing="cpm", reserve="worst_case"))
    stall.ledger.fund({"bread": 0})
    stall.market.wallet.settle_all()
    stall.market.refresh()
    assert sold(ask(feed, selling)) == {}


def test_who_is_out_of_money_does_not_keep_another_from_its_item(shop, selling) -> None:
    feed, stall = shop(
        campaign("rich", items=["i010"], bid=0.9), campaign("poor", items=["i010"], bid=0.1)
    )
    assert sold(ask(feed, selling)) == {2: "rich"}
    stall.ledger.fund({"rich": 0})
    stall.market.wallet.settle_all()
    stall.market.refresh()
    assert sold(ask(feed, selling)) == {2: "poor"}


def test_a_bought_day_is_paid_once_and_stands_first(shop, selling) -> None:
    feed, stall = shop(
        campaign("day", billing="cpd", bid=30.0, items=["i040"]), campaign("bread", bid=99.0)
    )
    assert sold(ask(feed, selling)) == {2: "bread"}  # the day is asked for
    stall.market.refresh()
    assert sold(ask(feed, selling)) == {2: "day", 5: "bread"}
    stall.market.refresh()
    assert stall.ledger.balances(tiny.NOW)["day"].spent == 30_000_000


@pytest.mark.parametrize("ends_in_days", [1, 5])
def test_a_day_is_not_bought_when_it_or_the_flight_is_over(shop, selling, ends_in_days) -> None:
    ends = START + timedelta(days=1 + ends_in_days)
    feed, stall = shop(campaign("day", billing="cpd", bid=30.0, items=["i040"], ends_at=ends))
    assert sold(ask(feed, selling)) == {}  # the day is asked for
    stall.now += 2 * 86_400
    stall.market.refresh()
    assert stall.ledger.balances(stall.now)["day"].spent == 0


def test_a_campaign_shows_in_its_time_venues_and_blocks(shop, selling) -> None:
    feed, _ = shop(
        campaign("later", starts_at=START.replace(year=2030), ends_at=START.replace(year=2031)),
        campaign("elsewhere", venues=["all"]),
        campaign("other-block", blocks=["discover"]),
    )
    assert sold(ask(feed, selling)) == {}


def test_two_blocks_do_not_show_one_campaign_twice(shop, selling) -> None:
    venue = selling.venues["sale"]
    world = replace(
        selling,
        venues={"sale": replace(venue, sponsored={"main": PLACES, "more": PLACES})},
    )
    feed, _ = shop(campaign("bread"), campaign("milk", items=["i012", "i014"], bid=0.01))
    answer = ask(feed, world, blocks=[{"block_id": "main"}, {"block_id": "more"}])
    assert (sold(answer), sold(answer, 1)) == ({2: "bread", 5: "milk"}, {})


def test_what_is_not_predicted_needs_an_assumed_chance(shop, selling, monkeypatch) -> None:
    feed, _ = shop(campaign("sale", billing="cps", bid=5.0))
    assert sold(ask(feed, selling)) == {2: "sale"}
    monkeypatch.setattr("serving.feed.sponsored.Sales._column", lambda self, action: -1)
    assert sold(ask(feed, selling)) == {}
    assert left_out(feed, "unpriced") == 1
    assumed, _ = shop(campaign("sale", billing="cps", bid=5.0, assumed_chance=0.01))
    assert sold(ask(assumed, selling)) == {2: "sale"}


def test_a_ledger_that_does_not_answer_leaves_the_page_organic(shop, selling, monkeypatch) -> None:
    feed, stall = shop(campaign("bread"))

    def broken(*_args, **_kwargs):
        raise EventStoreError("the disk is full")

    monkeypatch.setattr(stall.market._purse.ledger, "paces", broken)
    stall.market.refresh()
    assert stall.failures == ["campaigns_unavailable"]
    assert sold(ask(feed, selling)) == {2: "bread"}  # from the lease at hand


def test_a_venue_without_places_for_sale_sells_none(shop, world) -> None:
    feed, _ = shop(campaign("bread"))
    assert sold(ask(feed, world)) == {}


def test_the_share_of_a_paced_campaign_is_its_propensity(shop, selling) -> None:
    feed, stall = shop(campaign("bread", pacing={"curve": "even"}))
    stall.market._participations = {"bread": 0.3}
    answers = [ask(feed, selling) for _ in range(400)]
    won = [answer for answer in answers if sold(answer)]
    assert 0.2 < len(won) / 400 < 0.4
    assert {a["blocks"][0]["items"][1]["propensity"] for a in won} == {0.3}


def test_propensities_of_the_others_hold_given_the_sponsored_places(shop, selling) -> None:
    feed, stall = shop(campaign("bread", items=["i010"], pacing={"curve": "even"}))
    stall.market._participations = {"bread": 0.5}
    pages: dict[bool, set[tuple[tuple[str, float], ...]]] = {True: set(), False: set()}
    for _ in range(60):
        answer = ask(feed, selling)
        organic = [i for i in answer["blocks"][0]["items"] if i["slot"] == "organic"]
        places = tuple((item["item_id"], item["propensity"]) for item in organic)
        pages[bool(sold(answer))].add(places)
    (with_it,), (without,) = pages[True], pages[False]
    assert {chance for _, chance in (*with_it, *without)} == {1.0}
    assert without[1] == with_it[1], "the second one moves to the third place: it draws nothing"

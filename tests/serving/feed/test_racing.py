"""Races in the request path."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import orjson
import pytest
from prometheus_client import CollectorRegistry

from qianmian.contracts.api import RECOMMEND_REQUEST, RecommendResponse
from qianmian.events.changes import Change
from qianmian.racing.schema import RaceFile
from qianmian.racing.state import ArmSums, RaceState
from qianmian.venues import Block
from qianmian.venues.blocks import BlockKind
from qianmian.venues.conditions import Condition
from serving.feed.journey import Feed
from serving.feed.racing import Races
from serving.feed.users import Users
from tests.serving import tiny

ORDER = RaceFile(blocks=("main", "deals", "more"), floor=0.1)
BANNER = RaceFile(block="main", creatives=("snow", "gifts"))
BLOCKS = [{"block_id": name, "page_size": 3} for name in ("main", "deals", "fixed", "more")]


@pytest.fixture
def races() -> Races:
    return Races(CollectorRegistry())


@pytest.fixture
def racing(world):
    venue = replace(world.venues["sale"], racing={"order": ORDER, "banner": BANNER})
    return replace(world, venues={"sale": venue})


@pytest.fixture
def feed(signer, metrics, ids, races) -> Feed:
    return Feed(
        users=Users(tiny.USERS.get, size=100, ttl=60.0),
        signer=signer,
        metrics=metrics,
        new_id=lambda: f"r{next(ids)}",
        races=races,
    )


def ask(feed, world, blocks=BLOCKS, **body) -> dict:
    request = RECOMMEND_REQUEST.validate_json(json.dumps({"blocks": blocks, **body}))
    answer = feed.recommend(world, "sale", request)
    RecommendResponse.model_validate_json(orjson.dumps(answer))
    return answer


def order(answer) -> list[str]:
    return [block["block_id"] for block in answer["blocks"]]


def outcome(answer, race="order") -> dict:
    return next(one for one in answer["racing"] if one["race"] == race)


def publish(races: Races, version: int, **clicks: float) -> None:
    arms = {arm: ArmSums(trials=1_000, click=k) for arm, k in clicks.items()}
    text = RaceState(version, 0.0, arms).to_bytes()
    races.take([Change("racing", "sale|order", text), Change("racing", "", b"cursor")])


def test_blocks_stand_in_the_order_of_the_race_and_others_keep_their_place(feed, racing) -> None:
    seen = Counter()
    for n in range(200):
        answer = ask(feed, racing, user={"id": f"u{n}"})
        raced = outcome(answer)
        assert order(answer) == [*raced["order"][:2], "fixed", raced["order"][2]]
        assert raced["propensity"] == pytest.approx(1 / 3)
        seen[raced["order"][0]] += 1
    assert min(seen.values()) > 30


def test_the_same_request_gets_the_same_order_within_a_state(feed, racing, races) -> None:
    def orders() -> list[tuple[str, ...]]:
        return [tuple(order(ask(feed, racing, user={"id": f"u{n}"}))) for n in range(40)]

    first = orders()
    assert orders() == first
    publish(races, 1, main=10, deals=11, more=9)
    assert orders() != first
    assert outcome(ask(feed, racing))["state_version"] == 1


def test_what_earns_more_leads_more_and_the_floor_holds(feed, racing, races) -> None:
    publish(races, 1, main=20, deals=150, more=20)
    answers = [ask(feed, racing, user={"id": f"u{n}"}) for n in range(300)]
    led = Counter(outcome(answer)["order"][0] for answer in answers)
    propensity = {outcome(a)["order"][0]: outcome(a)["propensity"] for a in answers}
    assert propensity["deals"] == pytest.approx(0.8, abs=0.01)
    assert propensity["main"] == pytest.approx(0.1, abs=0.01)
    assert 0.7 < led["deals"] / 300 < 0.9


def test_requests_of_nobody_are_drawn_one_by_one(feed, racing) -> None:
    assert len({tuple(order(ask(feed, racing))) for _ in range(40)}) > 1


def test_the_leading_block_chooses_its_items_first(feed, racing) -> None:
    answer = ask(feed, racing, user={"id": "anna"})
    best = max(i["score"] for block in answer["blocks"] for i in block["items"])
    assert answer["blocks"][0]["items"][0]["score"] == best


def test_a_block_shows_the_creative_that_won(feed, racing, signer) -> None:
    answer = ask(feed, racing, blocks=[{"block_id": "main"}])
    (raced,) = answer["racing"]
    assert answer["blocks"][0]["creative"] == raced["order"][0]
    token = signer.open_attribution(answer["attribution_token"])
    assert token.races == (("banner", raced["order"][0]),)


def with_block(world, block_id, block):
    """The world with another block of its racing venue."""
    venue = world.venues["sale"]
    blocks = dict.fromkeys([*ORDER.blocks, "fixed"], venue.blocks["main"]) | {block_id: block}
    return replace(world, venues={"sale": replace(venue, blocks=blocks)})


@pytest.mark.parametrize(
    ("empty", "counted"),
    [
        ("main", set()),
        ("deals", {"banner"}),
        ("more", {"banner"}),
        ("fixed", {"banner", "order"}),
    ],
)
def test_a_page_on_which_a_racing_block_has_nothing_to_show_does_not_count(
    feed, racing, signer, empty, counted
) -> None:
    nobodys = Block("", 3, audience=Condition.read('age == "19-24"'))
    world = with_block(racing, empty, nobodys)
    for n in range(10):
        answer = ask(feed, world, user={"id": f"u{n}"})
        assert {one["race"] for one in answer["racing"]} == {"banner", "order"}
        token = signer.open_attribution(answer["attribution_token"])
        assert {race for race, _ in token.races} == counted


def test_a_block_that_others_leave_nothing_did_race(feed, racing, signer) -> None:
    world = with_block(racing, "deals", Block("", 3, kind=BlockKind.BUY_AGAIN))
    blocks = [{"block_id": name, "page_size": 10} for name in ORDER.blocks]
    emptied = 0
    for n in range(20):
        answer = ask(feed, world, blocks, user={"id": "anna"}, session_id=f"s{n}")
        token = signer.open_attribution(answer["attribution_token"])
        assert dict(token.races)["order"] == order(answer)[0]
        emptied += any(not block["items"] for block in answer["blocks"])
    assert 0 < emptied < 20


def test_later_pages_do_not_race(feed, racing) -> None:
    first = ask(feed, racing, blocks=[{"block_id": "main", "page_size": 3}])
    token = first["blocks"][0]["next_page_token"]
    later = ask(feed, racing, blocks=[{"block_id": "main", "page_size": 3, "page_token": token}])
    assert later["racing"] == []
    assert "creative" not in later["blocks"][0]


def test_metrics_tell_the_shares(feed, racing, races) -> None:
    ask(feed, racing)
    share = races._share.labels("sale", "order", "main")._value.get()
    assert share == pytest.approx(1 / 3)

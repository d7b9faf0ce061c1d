"""Rules of a venue on real pages of the tiny shop: asked for, paged through, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.venues import Block
from qianmian.venues.rules import BlockRules, Diversity, Exploration, Pin, Quota, Rules, Window
from serving.feed.journey import Feed
from serving.feed.metrics import FeedMetrics
from serving.feed.rerank.explore import explore
from serving.feed.rerank.greedy import fill
from serving.feed.resident import World
from serving.feed.tokens import Signer
from tests.serving import tiny
from tests.serving.conftest import VENUES
from tests.serving.feed.test_journey import ask, ids

Make = Callable[..., World]
TABLE = tiny.item_table()


def ruled(make_world: Make, page: Rules | None = None, **blocks: BlockRules) -> World:
    """A world whose venue `all` has these rules; blocks show 10 items."""
    described = {
        name: Block(name, 10, rules=blocks.get(name, BlockRules())) for name in ("main", *blocks)
    }
    venue = replace(VENUES["all"], rules=page or Rules(), blocks=described)
    return replace(make_world(), venues={**VENUES, "all": venue})


def brand(item_id: str) -> str:
    return TABLE.attributes["brand"][TABLE.index_of(item_id)]


def crowded(shown: list[str], most: int, within: int) -> bool:
    """Whether some window of the list holds too many of one known brand."""
    brands = [brand(item) for item in shown]
    return any(
        count > most
        for start in range(len(brands))
        for name, count in Counter(brands[start : start + within]).items()
        if name
    )


def page_through(feed: Feed, world: World, *, blocks: list[str], pages: int, **body) -> list[dict]:
    """Answers of the first pages, all blocks going on together."""
    tokens: dict[str, str | None] = dict.fromkeys(blocks)
    answers = []
    for _ in range(pages):
        asked = [{"block_id": b, "page_token": tokens[b], "page_size": 7} for b in blocks]
        answers.append(ask(feed, world, blocks=asked, params={"explain": True}, **body))
        tokens = {b["block_id"]: b["next_page_token"] for b in answers[-1]["blocks"]}
    return answers


def shown_in(answers: list[dict], block: int) -> list[dict]:
    return [item for answer in answers for item in answer["blocks"][block]["items"]]


WINDOW = Window(attribute="brand", at_most=1, within=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    most=st.integers(1, 2),
    within=st.integers(3, 5),
    diversity=st.none() | st.builds(Diversity, method=st.sampled_from(["mmr", "dpp"])),
    user=st.sampled_from(["anna", "ben", "nobody"]),
    pins=st.dictionaries(st.integers(1, 20), st.integers(0, 59), max_size=3),
    share=st.sampled_from([0.0, 0.5]),
)
def test_windows_hold_over_pages_and_pins_stand_where_they_belong(
    feed: Feed,
    make_world: Make,
    most: int,
    within: int,
    diversity: Diversity | None,
    user: str,
    pins: dict[int, int],
    share: float,
) -> None:
    first = {item: position for position, item in pins.items()}
    rules = BlockRules(
        windows=(Window(attribute="brand", at_most=most, within=within),),
        diversity=diversity,
        exploration=Exploration(share=share, max_gap=1.0),
        pins=tuple(Pin(item_id=tiny.item_id(item), position=at) for item, at in first.items()),
    )
    world = ruled(make_world, main=rules)
    answers = page_through(feed, world, blocks=["main"], pages=3, user=user)
    again = page_through(feed, world, blocks=["main"], pages=3, user=user)
    shown = [item["item_id"] for item in shown_in(answers, 0)]
    assert shown == [item["item_id"] for item in shown_in(again, 0)]
    assert len(shown) == len(set(shown)) == 21
    relaxed = [rule for answer in answers for rule in answer["blocks"][0]["explain"]["relaxed"]]
    if not pins:
        assert not relaxed
    if not relaxed:
        assert not crowded(shown, most, within)
    for item, position in first.items():
        assert shown[position - 1] == tiny.item_id(item)
        assert shown_in(answers, 0)[position - 1]["slot"] == "pinned"


def test_a_window_runs_on_over_blocks_if_it_says_so(feed: Feed, make_world: Make) -> None:
    def brands(*, across: bool) -> list[str]:
        window = WINDOW.model_copy(update={"across_blocks": across})
        world = ruled(make_world, Rules(windows=(window,)), a=BlockRules(), b=BlockRules())
        answers = page_through(feed, world, blocks=["a", "b"], pages=1)
        return [i["item_id"] for block in (0, 1) for i in shown_in(answers, block)]

    assert not crowded(brands(across=True), 1, 3)
    assert crowded(brands(across=False), 1, 3)
    assert not crowded(brands(across=False)[:7], 1, 3)


def test_quotas_hold_in_a_block_and_over_the_page(feed: Feed, make_world: Make) -> None:
    bread = Quota(attribute="category", values=("bread",), at_least=3, at_most=3)
    soap = Quota(attribute="category", values=("soap",), at_most=4)
    rare = Quota(items="target_users_28d < 20", at_least=2)
    world = ruled(
        make_world, Rules(quotas=(soap,)), a=BlockRules(quotas=(bread, rare)), b=BlockRules()
    )
    answers = page_through(feed, world, blocks=["a", "b"], pages=2)
    for answer in answers:
        blocks = [[item["item"] for item in block["items"]] for block in answer["blocks"]]
        assert sum(item["category"] == "bread" for item in blocks[0]) == 3
        assert sum(item["item_id"] < "i020" for item in answer["blocks"][0]["items"]) >= 2
        assert sum(item["category"] == "soap" for item in [*blocks[0], *blocks[1]]) <= 4
        assert all(block["explain"]["relaxed"] == [] for block in answer["blocks"])


def test_a_quota_that_cannot_hold_is_told(feed: Feed, make_world: Make) -> None:
    quota = Quota(attribute="category", values=("wine",), at_least=2)
    answer = ask(
        feed, ruled(make_world, main=BlockRules(quotas=(quota,))), params={"explain": True}
    )
    assert len(ids(answer)) == 10
    assert answer["blocks"][0]["explain"]["relaxed"] == ["at least 2 of category wine in the block"]


def test_a_pin_that_may_not_stand_there_is_skipped_with_the_reason(
    feed: Feed, make_world: Make
) -> None:
    pins = (
        Pin(item_id="i001", position=1),
        Pin(item_id="no such item", position=2),
        Pin(item_id="i050", position=3),
        Pin(item_id="i004", position=90),
    )
    world = ruled(make_world, main=BlockRules(pins=pins))
    block = {"exclude_item_ids": ["i050"], "page_size": 20}
    answer = ask(feed, world, blocks=[block], params={"explain": True})
    told = answer["blocks"][0]["explain"]["skipped"]
    assert [(one["item_id"], one["position"], one["reason"]) for one in told] == [
        (None, 2, "unknown_item"),
        ("i050", 3, "excluded"),
    ]
    assert ids(answer)[0] == "i001"
    assert not {"i050", "i004"} & set(ids(answer))
    items = answer["blocks"][0]["items"]
    assert (items[0]["slot"], items[0]["reason"]) == ("pinned", "chosen_by_this_venue")


def test_explain_names_the_rule_that_moved_an_item(feed: Feed, make_world: Make) -> None:
    world = ruled(make_world, main=BlockRules(windows=(WINDOW,)))
    answer = ask(feed, world, params={"explain": True})
    how = [item["explain"] for item in answer["blocks"][0]["items"]]
    assert how[0]["rank"] == 1
    moved = [one for one in how if one["moved_by"]]
    assert moved
    assert {name for one in moved for name in one["moved_by"]} == {
        "at most 1 of one brand in 3 slots"
    }


def test_propensities_are_those_of_the_draws(feed: Feed, make_world: Make, signer: Signer) -> None:
    """Over many requests items are shown as often as their propensities say."""
    share = 0.4
    exploration = Exploration(share=share, max_gap=0.9, candidates=3, positions=(2, 4, 6))
    world = ruled(make_world, main=BlockRules(exploration=exploration))
    seen: Counter[tuple[int, str]] = Counter()
    claimed: dict[tuple[int, str], float] = {}
    requests = 400
    for number in range(requests):
        answer = ask(feed, world, session_id=f"s{number}")
        told = signer.open_attribution(answer["attribution_token"])
        for item in answer["blocks"][0]["items"]:
            where = item["position"], item["item_id"]
            seen[where] += 1
            assert claimed.setdefault(where, item["propensity"]) == item["propensity"]
            placed = told.place_of(item["item_id"])
            assert placed is not None
            assert placed.propensity == pytest.approx(item["propensity"], rel=1e-3)
    for position in range(1, 11):
        chances = {where: p for where, p in claimed.items() if where[0] == position}
        assert sum(chances.values()) == pytest.approx(1.0)
        assert (len(chances) > 1) == (position in {2, 4, 6})
    for where, chance in claimed.items():
        deviation = (chance * (1 - chance) / requests) ** 0.5
        assert abs(seen[where] / requests - chance) <= 4 * deviation + 1e-12


def test_nothing_is_compiled_for_a_request(feed: Feed, make_world: Make) -> None:
    compiled = (fill, explore)
    before = [len(one.signatures) for one in compiled]
    rules = BlockRules(
        windows=(WINDOW,),
        quotas=(Quota(source="new", at_least=1),),
        diversity=Diversity(method="mmr", strength=0.5),
        exploration=Exploration(share=0.5, first_position=1),
        pins=(Pin(item_id="i001", position=1),),
    )
    page_through(feed, ruled(make_world, main=rules), blocks=["main"], pages=9)
    assert [len(one.signatures) for one in compiled] == before


def test_a_page_without_its_rules_is_the_ranking(
    feed: Feed, make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room to lay out a page")

    monkeypatch.setattr("serving.feed.arrange.lay_out", fail)
    answer = ask(feed, ruled(make_world, main=BlockRules(windows=(WINDOW,))))
    assert answer["degraded"] == ["no_rules"]
    assert ids(answer) == ids(ask(feed, make_world()))


def test_rules_let_go_are_counted(feed: Feed, make_world: Make, metrics: FeedMetrics) -> None:
    quota = Quota(attribute="category", values=("wine",), at_least=2)
    ask(feed, ruled(make_world, main=BlockRules(quotas=(quota,))))
    rule = {"rule": "at least 2 of category wine in the block"}
    assert metrics.registry.get_sample_value("qianmian_rules_relaxed_total", rule) == 1

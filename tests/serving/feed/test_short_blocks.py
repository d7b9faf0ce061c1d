"""Blocks that end before a fixed place, and what a page remembers for the next one."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np
import pytest

from qianmian.contracts.api import MAX_SHOWN
from qianmian.venues.rules import BlockRules, Exploration, Pin, Rules, Window
from serving.feed.journey import Feed
from serving.feed.resident import World
from serving.feed.tokens import PageToken, Signer, item_hashes
from tests.serving import tiny
from tests.serving.feed.test_arrange import crowded, page_through, ruled, shown_in
from tests.serving.feed.test_journey import ask, ids

Make = Callable[..., World]


def block(items: int, **fields: object) -> dict[str, object]:
    """A block that may show the items of so many numbers only."""
    out = [tiny.item_id(n) for n in range(items, tiny.ITEMS)]
    return {"exclude_item_ids": out, **fields}


def skipped(answer: dict) -> list[tuple[str | None, int, str]]:
    told = answer["blocks"][0]["explain"]["skipped"]
    return [(one["item_id"], one["position"], one["reason"]) for one in told]


def pinned(make_world: Make, *positions: int) -> World:
    """Item 0 pinned to the first position, item 1 to the next one, and so on."""
    pins = [Pin(item_id=tiny.item_id(n), position=at) for n, at in enumerate(positions)]
    return ruled(make_world, main=BlockRules(pins=tuple(pins)))


@pytest.mark.parametrize(("items", "position"), [(10, 12), (6, 8), (10, MAX_SHOWN)])
def test_a_pin_behind_the_last_item_stands_among_the_others(
    feed: Feed, make_world: Make, items: int, position: int
) -> None:
    world = pinned(make_world, position)
    answer = ask(feed, world, blocks=[block(items)], params={"explain": True})
    assert sorted(ids(answer)) == [tiny.item_id(n) for n in range(items)]
    assert {item["slot"] for item in answer["blocks"][0]["items"]} == {"organic"}
    assert skipped(answer) == [("i000", position, "no_such_place")]
    assert answer["blocks"][0]["next_page_token"] is None


def test_a_pin_stands_alone_on_the_last_page(feed: Feed, make_world: Make) -> None:
    world = pinned(make_world, 11)
    asked = block(11, block_id="main")
    first = ask(feed, world, blocks=[asked], params={"explain": True})
    assert skipped(first) == []
    assert len(ids(first)) == 10
    token = first["blocks"][0]["next_page_token"]
    last = ask(feed, world, blocks=[{**asked, "page_token": token}])
    assert [(i["item_id"], i["slot"]) for i in last["blocks"][0]["items"]] == [("i000", "pinned")]
    assert last["blocks"][0]["next_page_token"] is None


def test_pins_that_are_given_up_bring_others_within_reach(feed: Feed, make_world: Make) -> None:
    answer = ask(feed, pinned(make_world, 6, 8), blocks=[block(6)], params={"explain": True})
    assert len(ids(answer)) == 6
    assert (ids(answer)[5], answer["blocks"][0]["items"][5]["slot"]) == ("i000", "pinned")
    assert skipped(answer) == [("i001", 8, "no_such_place")]


@pytest.mark.parametrize("position", [9, 12, 17, 20, 21, 40])
def test_no_item_is_lost_on_the_way_to_the_end(feed: Feed, make_world: Make, position: int) -> None:
    world = pinned(make_world, position)
    shown: list[str] = []
    told: list[str] = []
    token = None
    while token is not None or not shown:
        asked = block(20, page_size=4, page_token=token)
        answer = ask(feed, world, blocks=[asked], params={"explain": True})
        shown += ids(answer)
        told += [reason for _, _, reason in skipped(answer)]
        token = answer["blocks"][0]["next_page_token"]
    assert sorted(shown) == [tiny.item_id(n) for n in range(20)]
    assert told == ([] if position <= 20 else ["no_such_place"])
    assert position > 20 or shown[position - 1] == "i000"


def test_windows_across_blocks_hold_on_explored_pages(feed: Feed, make_world: Make) -> None:
    window = Window(attribute="brand", at_most=3, within=9, across_blocks=True)
    draws = Exploration(share=0.5, first_position=1, max_gap=1.0, impressions_below=1_000_000)
    world = ruled(
        make_world, Rules(windows=(window,), exploration=draws), a=BlockRules(), b=BlockRules()
    )
    drawn = 0
    for number in range(60):
        answers = page_through(
            feed, world, blocks=["a", "b"], pages=1, user="ben", session_id=f"s{number}"
        )
        items = [*shown_in(answers, 0), *shown_in(answers, 1)]
        drawn += any(item["propensity"] < 1 for item in items)
        assert answers[0]["blocks"][1]["explain"]["relaxed"] == []
        assert not crowded([item["item_id"] for item in items], 3, 9)
    assert drawn


def test_an_item_that_the_release_does_not_know_stays_what_it_was(
    feed: Feed, make_world: Make, signer: Signer
) -> None:
    window = Window(attribute="brand", at_most=3, within=9)
    world = ruled(make_world, main=BlockRules(windows=(window,)))
    gone = np.array([crc32(b"of the release before")], dtype=np.uint32)
    token = signer.page(PageToken("all", "main", 1, 0, shown=gone, before=gone))
    answer = ask(feed, world, blocks=[{"page_size": 2, "page_token": token}])
    following = signer.open_page(answer["blocks"][0]["next_page_token"], field="page_token")
    assert following.before.tolist() == [*gone.tolist(), *item_hashes(ids(answer)).tolist()]

"""Who draws apart from whom where a page explores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from qianmian.venues.rules import BlockRules, Exploration
from serving.feed.journey import Feed
from serving.feed.resident import World
from tests.serving.feed.test_arrange import ruled
from tests.serving.feed.test_journey import ask, ids

Make = Callable[..., World]
SHARE = 0.4


@pytest.fixture
def exploring(make_world: Make) -> World:
    draws = Exploration(
        share=SHARE, max_gap=0.9, candidates=2, positions=(2,), impressions_below=1_000_000
    )
    return ruled(make_world, main=BlockRules(exploration=draws))


def test_requests_of_nobody_are_drawn_one_by_one(feed: Feed, exploring: World) -> None:
    requests = 400
    answers = [ask(feed, exploring, user=None)["blocks"][0]["items"][1] for _ in range(requests)]
    seen = Counter(item["item_id"] for item in answers)
    chance = {item["item_id"]: item["propensity"] for item in answers}
    assert sorted(chance.values()) == pytest.approx([SHARE / 2, SHARE / 2, 1 - SHARE])
    for item, count in seen.items():
        deviation = (chance[item] * (1 - chance[item]) / requests) ** 0.5
        assert abs(count / requests - chance[item]) <= 4 * deviation


def test_pages_of_nobody_go_on_without_repeating(feed: Feed, exploring: World) -> None:
    for _ in range(20):
        shown: list[str] = []
        token = None
        while token is not None or not shown:
            asked = {"page_size": 7, "page_token": token}
            answer = ask(feed, exploring, user=None, blocks=[asked])
            shown += ids(answer)
            token = answer["blocks"][0]["next_page_token"]
        assert len(shown) == len(set(shown)) == 60


@pytest.mark.parametrize(
    "who", [{"user": "anna"}, {"session_id": "s1"}, {"page_view_id": "v1"}], ids=str
)
def test_whoever_is_named_draws_the_same_again(
    feed: Feed, exploring: World, who: dict[str, str]
) -> None:
    asked = {"user": None, **who}
    assert len({tuple(ids(ask(feed, exploring, **asked))) for _ in range(10)}) == 1

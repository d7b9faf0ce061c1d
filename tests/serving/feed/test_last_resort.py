"""A page is due whatever fails: what is left is shown, and what the rules cannot judge is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from qianmian.errors import EventStoreError, FieldError
from qianmian.venues import Block
from qianmian.venues.conditions import Condition
from serving.feed.journey import Feed
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import ResidentRelease, World
from serving.feed.scoring import Weightings
from serving.feed.shelf import Shelf
from tests.serving import tiny
from tests.serving.feed.test_blocks_and_ladder import ask, ids, opened

BLOCKS = {
    "milk": Block("", 10, filter=Condition.read('category == "milk"')),
    "main": Block("", 10),
}
ASKED = [{"block_id": name} for name in BLOCKS]


@pytest.fixture
def shop(world: World, release: ResidentRelease) -> World:
    return opened(world, release.bundle, blocks=BLOCKS)


def failing(error: Exception, seconds: float = 0.0) -> Callable[..., None]:
    def fail(*_: object) -> None:
        time.sleep(seconds)
        raise error

    return fail


def test_facts_that_cannot_be_taken_over_leave_the_page_empty(
    feed: Feed, shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Shelf, "catch_up", failing(KeyError("gone")))
        answer = ask(feed, shop, blocks=ASKED)
        assert answer["degraded"] == ["eligibility_unknown"]
        assert answer["blocks"][1]["explain"]["removed"]["eligibility_unknown"] == tiny.ITEMS
        assert (ids(answer, 0), ids(answer, 1)) == ([], [])
    answer = ask(feed, shop, blocks=ASKED)
    assert answer["degraded"] == []
    assert len(ids(answer, 0)) == len(ids(answer, 1)) == 10


@pytest.mark.parametrize("path_fails", [False, True])
def test_a_block_that_cannot_be_judged_is_empty_and_the_others_are_not(
    feed: Feed, shop: World, monkeypatch: pytest.MonkeyPatch, *, path_fails: bool
) -> None:
    monkeypatch.setattr(Shelf, "holds", failing(KeyError("gone")))
    if path_fails:
        monkeypatch.setattr(Weightings, "of", failing(RuntimeError("gone")))
    answer = ask(feed, shop, blocks=ASKED)
    expected = ["request_path_failed"] if path_fails else []
    assert answer["degraded"] == [*expected, "eligibility_unknown"]
    assert ids(answer, 0) == []
    assert len(ids(answer, 1)) == 10


@pytest.mark.parametrize(
    "error", [EventStoreError("gone"), FieldError("inner", 1, "another"), RuntimeError("gone")]
)
def test_a_mistake_that_the_request_did_not_make_is_answered_with_a_page(
    feed: Feed, shop: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Weightings, "of", failing(error))
    answer = ask(feed, shop, blocks=ASKED)
    assert answer["degraded"] == ["request_path_failed"]
    assert ids(answer, 1)[0] == "i059"


def test_time_that_a_failed_attempt_took_is_counted(
    feed: Feed, shop: World, metrics: FeedMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weightings, "of", failing(RuntimeError("gone"), seconds=0.05))
    answer = ask(feed, shop, blocks=ASKED)
    assert answer["timing_ms"]["total"] >= 50
    told = metrics.registry.get_sample_value
    assert told("qianmian_feed_seconds_count") == 1
    assert (told("qianmian_feed_seconds_sum") or 0.0) >= 0.05


def test_what_the_log_says_of_a_failure_names_nobody(
    feed: Feed, shop: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Weightings, "of", failing(KeyError("anna-of-the-shop")))
    ask(feed, shop, "anna-of-the-shop", blocks=ASKED)
    assert "the request path failed" in caplog.text
    assert "anna-of-the-shop" not in caplog.text

"""After traffic with marked ids, failures included, no log holds one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service
from tests.serving.test_people import PAGE, Send, sender

MARK = "marker-4711"
USER, DEVICE = f"{MARK}-user", f"{MARK}-device"
EVENT = {"event_type": "click", "timestamp": "2017-12-05T05:00:00Z", "item_id": "i001"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[VenueService]:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    shop = service(tmp_path)
    shop.start()
    yield shop
    shop.close()


def traffic(send: Send) -> list[httpx.Response]:
    """Every route that takes an id, used well and badly."""
    who = {"id": USER, "visitor_id": DEVICE}
    events = [
        {**EVENT, "event_id": "1", "user_id": USER, "visitor_id": DEVICE},
        {**EVENT, "event_id": "2", "user_id": f"visitor:{USER}"},
        {**EVENT, "event_id": "3", "user_id": USER, "item_id": 7},
        {**EVENT, "event_id": "4", "user_id": "ben", "shared_by": USER},
    ]
    return [
        send(PAGE, {"user": who}),
        send(PAGE, {"user": {"id": f"visitor:{USER}"}}),
        send(PAGE, {"user": {"id": [USER]}}),
        send("/v1/events", {"events": events}),
        send("/v1/events", {"events": USER}),
        send("/v1/users:merge", {"visitor_id": DEVICE, "user_id": USER}),
        send("/v1/users:merge", {"visitor_id": DEVICE, "user_id": "ben"}),
        send("/v1/users:merge", {"visitor_id": DEVICE, "person": USER}),
        send("/v1/users:unmerge", {"visitor_id": DEVICE}),
        send("/v1/users:unmerge", {"visitor_id": DEVICE}),
        send("/v1/users:forget", {"user_id": f"{USER}-2"}),
        send(f"/v1/users/{USER}-3:forget", None),
        send(f"/v1/users/{USER}-3:allow", None),
        send(f"/v1/nowhere/{USER}", None),
    ]


def raises(*_: object) -> None:
    raise KeyError(f"no row for {USER} and {DEVICE}")


def nothing(_: VenueService) -> None:
    """Break nothing."""


def no_features(shop: VenueService) -> None:
    shop.users._read = raises


def no_path(shop: VenueService) -> None:
    shop._feed._race = raises


def no_answer(shop: VenueService) -> None:
    shop.respond = raises


def no_people(shop: VenueService) -> None:
    shop.people._merger.merge = raises
    shop.gate.identity.apply = raises


@pytest.mark.parametrize("break_it", [nothing, no_features, no_path, no_answer, no_people])
def test_no_log_names_anybody(
    shop: VenueService,
    break_it: Callable[[VenueService], None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    break_it(shop)
    with caplog.at_level(logging.DEBUG):
        answers = traffic(sender(shop))
        shop.listener.catch_up()
    assert {answer.status_code for answer in answers} <= {200, 202, 404, 409, 422, 503}
    formatter = logging.Formatter()  # with tracebacks
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    told = "\n".join([*map(formatter.format, ours), *capfd.readouterr()])
    assert MARK not in told
    if break_it is not nothing:
        assert "KeyError" in told

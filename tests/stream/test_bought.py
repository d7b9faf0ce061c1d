"""The topic of orders does not grow: what was worked in goes, and so does what is old."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qianmian.contracts import topics
from qianmian.contracts.events import EventType
from qianmian.events.bought import KEPT_SECONDS, Purchase, purchases
from qianmian.events.event import StoredEvent
from qianmian.stream.bought import SETTLE_SECONDS, SWEEP_SECONDS, BoughtPart
from tests.stream.conftest import NOW, Shop, sent


@pytest.fixture
def told(shop: Shop) -> Callable[[], set[str]]:
    return lambda: {Purchase.read(*one).item_id for one in topic(shop).items()}


def topic(shop: Shop) -> dict[str, bytes]:
    return shop.engine.changes.get(topics.BOUGHT)


def tell(shop: Shop, *events: StoredEvent) -> None:
    bought = purchases(events, EventType.ORDER)
    shop.engine.changes.put(topics.BOUGHT, {one.key: one.value for one in bought})


def test_orders_go_once_they_are_worked_in(shop: Shop, told: Callable[[], set[str]]) -> None:
    moment = [100.0]
    part = BoughtPart(shop.engine.changes, target=EventType.ORDER, clock=lambda: moment[0])
    worked, waiting = sent(1, "u1", "i01"), sent(2, "u1", "i02")
    clicked = sent(3, "u1", "i03", "click")
    part.take([worked, clicked])
    part.flush(NOW)
    tell(shop, worked, waiting)  # the door was slower than the stream
    moment[0] += SETTLE_SECONDS
    _, cursor = shop.engine.changes.since(0)
    part.flush(NOW)
    assert told() == {"i02"}
    assert shop.engine.changes.since(cursor)[0] == [], "nobody need be told"
    part.take([waiting])
    part.forget({"u1"})
    moment[0] += SETTLE_SECONDS
    part.flush(NOW)
    assert told() == {"i02"}, "erasing is who takes it out"


def test_old_orders_go_whoever_told_them(shop: Shop, told: Callable[[], set[str]]) -> None:
    moment = [0.0]
    part = BoughtPart(shop.engine.changes, target=EventType.ORDER, clock=lambda: moment[0])
    tell(shop, sent(1, "u1", "i01"), sent(9, "u2", "i02"))
    part.flush(NOW + 5)
    assert told() == {"i01", "i02"}
    part.flush(NOW + KEPT_SECONDS + 5)
    assert told() == {"i01", "i02"}, "it looks seldom"
    moment[0] += SWEEP_SECONDS
    part.flush(NOW + KEPT_SECONDS + 5)
    assert told() == {"i02"}


def test_the_stream_has_the_part(
    shop: Shop, told: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qianmian.stream.bought.SETTLE_SECONDS", 0.0)
    order = sent(1, "u1", "i01")
    tell(shop, order)
    shop.send(order)
    shop.start().drain()
    assert told() == set()

"""Orders beside the features: kept until the ledger holds them, and never too many."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client import CollectorRegistry

from qianmian.contracts import features as f
from qianmian.events.bought import KEPT_SECONDS, Purchase
from qianmian.events.changes import Change
from qianmian.features.user_state import UserState
from qianmian.workspace import PROJECT_ROOT
from serving.feed import bought
from serving.feed.bought import JustBought
from tests.serving import tiny

ITEMS = tiny.item_table()


def state(row: Mapping[str, object] | None) -> UserState:
    return UserState.read("anna", row, ITEMS, ())


def purchase(number: int, at: float = tiny.NOW, subject: str = "anna") -> Purchase:
    return Purchase(subject, tiny.item_id(number), at, at)


def items_of(held: JustBought, row: Mapping[str, object] | None = None) -> list[int]:
    found = held.of("anna", state(row), ITEMS)
    return [] if found is None else found.items.tolist()


def test_what_the_ledger_holds_is_let_go_and_the_shopper_is_read_anew() -> None:
    forgotten: list[str] = []
    held = JustBought(on_known=forgotten.extend)
    held.add([purchase(3), purchase(8)])
    row = tiny.user_row([3, 12])
    assert items_of(held, row) == [3, 8], "the ledger holds an older order of it"
    assert (len(held), forgotten) == (2, [])
    row = {**row, f.LEDGER_LAST_AT: [tiny.NOW - 1e-6, tiny.NOW]}
    assert items_of(held, row) == [8]
    assert (len(held), forgotten) == (1, ["anna"])
    held.add([purchase(3, tiny.NOW + 60)])
    assert items_of(held, row) == [8, 3], "bought once more"


def test_items_that_no_release_knows_are_nothing() -> None:
    held = JustBought()
    held.add([Purchase("anna", "made since", tiny.NOW, tiny.NOW)])
    assert items_of(held) == []
    assert held.of(None, state(None), ITEMS) is None
    assert held.of("ben", state(None), ITEMS) is None


def test_the_topic_is_taken_in_and_erased_subjects_go() -> None:
    held = JustBought()
    one, other = purchase(1), purchase(2, subject="ben")
    held.take([Change("bought", p.key, p.value) for p in (one, other)])
    held.take([Change("bought", one.key, None)])
    assert items_of(held) == [1]
    held.forget(["anna", "nobody"])
    assert (items_of(held), len(held)) == ([], 1)


def test_a_long_page_of_the_topic_holds_up_no_order_at_the_door() -> None:
    held = JustBought()

    def topic() -> Iterator[Purchase]:
        yield purchase(1)
        door = threading.Thread(target=held.add, args=([purchase(2)],), daemon=True)
        door.start()
        door.join(5)
        yield purchase(3)

    held.add(topic())
    assert items_of(held) == [1, 2, 3]


def test_the_reference_tells_how_many() -> None:
    told = " ".join((PROJECT_ROOT / "docs/reference/stream.md").read_text("utf-8").split())
    assert f"more than {bought.MOST:,}, or {bought.MOST_OF_ONE} of one shopper" in told


def test_orders_are_kept_for_a_time_and_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    held = JustBought(most=3, registry=registry)
    for number in range(5):
        held.add([purchase(number)])
    assert items_of(held) == [2, 3, 4]
    assert registry.get_sample_value("qianmian_bought_held") == 3
    assert registry.get_sample_value("qianmian_bought_crowded_out_total") == 2
    held.add([purchase(9, tiny.NOW + KEPT_SECONDS + 1)])
    assert items_of(held) == [9]
    assert registry.get_sample_value("qianmian_bought_crowded_out_total") == 2  # age is no crowd
    monkeypatch.setattr(bought, "MOST_OF_ONE", 2)
    held.add([purchase(number, tiny.NOW + KEPT_SECONDS + 2) for number in (9, 10, 11)])
    assert items_of(held) == [10, 11]
    assert len(held) == 2
    assert registry.get_sample_value("qianmian_bought_crowded_out_total") == 3

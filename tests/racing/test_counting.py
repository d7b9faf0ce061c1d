from __future__ import annotations

import json
from dataclasses import replace

import pytest

from qianmian.contracts import topics
from qianmian.events.event import StoredEvent
from qianmian.events.sqlite_changes import SqliteChanges
from qianmian.events.sqlite_store import SqliteEventStore
from qianmian.racing.counting import RaceCounting, read_states
from qianmian.racing.schema import RaceFile
from qianmian.racing.state import ArmSums, RaceState
from tests.events import made

NOW = 1_700_000_000.0
RACES = {
    "sale": {
        "order": RaceFile(blocks=("main", "deals"), half_life_hours=1.0),
        "banner": RaceFile(block="main", creatives=("snow", "gifts")),
    }
}


@pytest.fixture
def changes(tmp_path):
    changes = SqliteChanges(tmp_path / "changes.db")
    yield changes
    changes.close()


def event(number, event_type="impression", races=(("order", "main"),), **fields) -> StoredEvent:
    given = {
        "event_type": event_type,
        "timestamp": NOW,
        "received_at": NOW,
        "venue_id": "sale",
        "block_id": "main",
        "position": 1,
        "races": races,
        **fields,
    }
    return made.event(number, **given)


def counting(log, changes, **fields) -> RaceCounting:
    return RaceCounting(log, changes, lambda: RACES, **fields)


def states(changes) -> dict[str, RaceState]:
    return read_states(changes.get(topics.RACING))


def test_the_first_item_of_what_led_counts_the_page(log, changes) -> None:
    log.append(
        [
            event(1),
            event(2, position=2),
            event(3, block_id="deals"),
            event(4, "click", block_id="deals", position=3),
            event(5, races=(("order", "deals"),), block_id="deals"),
            event(6, races=()),
        ]
    )
    counting(log, changes).flush(NOW)
    held = states(changes)["sale|order"]
    assert held.arms == {"main": ArmSums(trials=1, click=1), "deals": ArmSums(trials=1)}


def test_a_creative_is_tried_by_its_block(log, changes) -> None:
    led = (("banner", "gifts"),)
    log.append(
        [event(1, races=led), event(2, "order", races=led, value=4.0), event(3, "order", races=led)]
    )
    counting(log, changes).flush(NOW)
    expected = ArmSums(trials=1, order=2, value=4.0, squares=16.0)
    assert states(changes)["sale|banner"].arms == {"gifts": expected}


def test_an_event_counts_once_whoever_dies_when(log, changes) -> None:
    log.append([event(1)])
    counting(log, changes).flush(NOW)
    counting(log, changes).flush(NOW + 100)
    log.append([event(2), event(1)])
    counting(log, changes).flush(NOW + 200)
    held = states(changes)["sale|order"]
    assert held.of("main").trials == 2
    assert held.version == 2


def test_another_log_is_counted_from_its_beginning(log, changes, tmp_path) -> None:
    log.append([event(n) for n in range(3)])
    counting(log, changes).flush(NOW)
    moved = SqliteEventStore(tmp_path / "moved.db")
    moved.append([event(n) for n in range(10, 12)])
    counting(moved, changes).flush(NOW)
    assert states(changes)["sale|order"].of("main").trials == 5
    assert moved.lag("racing") == 0
    moved.close()


def test_what_was_seen_fades(log, changes) -> None:
    log.append([event(1), event(2, received_at=NOW + 3_600.0)])
    counting(log, changes).flush(NOW)
    assert states(changes)["sale|order"].of("main").trials == pytest.approx(1.5)


def test_events_of_unknown_races_arms_and_quarantined_ones_do_not_count(log, changes) -> None:
    log.append(
        [
            event(1, races=(("gone", "main"),)),
            event(2, races=(("order", "gone"),)),
            event(3, venue_id="elsewhere"),
            event(4, quarantine="unknown_item"),
        ]
    )
    counting(log, changes).flush(NOW)
    assert states(changes) == {}


def test_what_is_implausible_or_not_judged_yet_does_not_count(log, changes) -> None:
    log.append([event(1), event(2)])
    _, judged = log.read("", 10)
    log.commit("judge", judged)
    log.append([event(3)])
    part = counting(log, changes, implausible=lambda ids: {"e1"} & set(ids), behind="judge")
    part.flush(NOW)
    assert states(changes)["sale|order"].of("main").trials == 1
    log.commit("judge", log.read(judged, 10)[1])
    part.finish(NOW)
    assert states(changes)["sale|order"].of("main").trials == 2


def test_the_state_is_published_now_and_then(log, changes) -> None:
    part = counting(log, changes)
    part.flush(NOW)
    log.append([event(1)])
    part.flush(NOW + 1)
    assert states(changes) == {}
    part.flush(NOW + 5)
    assert states(changes)["sale|order"].version == 1


def test_a_state_survives_as_bytes() -> None:
    state = RaceState(3, NOW, {"a": ArmSums(1, 2, 3, 4, 5, 6)})
    assert RaceState.from_bytes(state.to_bytes()) == state
    assert json.loads(state.to_bytes())["version"] == 3
    assert replace(state, version=4) != state


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"blocks": ("a",)}, "two or more different arms"),
        ({"blocks": ("a", "a")}, "two or more different arms"),
        ({}, "either blocks, or creatives"),
        ({"creatives": ("a", "b")}, "expected block with creatives"),
        ({"blocks": ("a", "b", "c"), "floor": 0.4}, "expected floor <= 1 / 3"),
    ],
)
def test_a_race_that_cannot_be_run_is_refused(fields, told) -> None:
    with pytest.raises(ValueError, match=told):
        RaceFile(**fields)

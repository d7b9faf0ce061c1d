"""What every event store does: each event once, durably, in one order; gone if erased."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.events import known_ids
from qianmian.events.engine import Engine, EngineSettings, open_engine
from qianmian.events.event import StoredEvent
from qianmian.events.store import BEGINNING, EventStore
from qianmian.workspace import Workspace
from tests.events.made import NOW, event


@pytest.fixture
def store(engine: Engine) -> EventStore:
    return engine.events


def everything(store: EventStore, page: int = 3) -> list[str]:
    found, cursor = [], BEGINNING
    while True:
        events, cursor = store.read(cursor, page)
        if not events:
            return found
        found += [each.event_id for each in events]


def test_an_event_comes_back_as_it_was(store: EventStore) -> None:
    full = event(
        1,
        visitor_id="d-7",
        session_id="s",
        venue_id="18",
        block_id="main",
        position=3,
        quantity=2.0,
        value=4.5,
        currency="EUR",
        recommendation_id="r",
        release="2017",
        arms=(("ranking", "discovery", "new"), ("layout", "wide", "control")),
        propensity=0.25,
        attributed="token",
        quarantine="unknown_item",
    )
    bare = event(2, user_id=None, item_id=None)
    odd = event(3, subject="\u0000 千面 \U0001f600", session_id="a\nb")
    assert store.append([full, bare, odd]) == [True, True, True]
    assert store.read(BEGINNING, 10)[0] == [full, bare, odd]


def test_a_log_has_a_name_that_no_other_has(
    store: EventStore,
    open_again: Callable[[], Engine],
    settings_of_engine: EngineSettings,
    tmp_path: Path,
) -> None:
    name = store.name()
    store.append([event(1)])
    assert open_again().events.name() == store.name() == name
    other = open_engine(settings_of_engine, Workspace(tmp_path, "another-shop"))
    assert other.events.name() not in ("", name)
    other.close()


def test_the_same_id_counts_once(store: EventStore, open_again: Callable[[], Engine]) -> None:
    assert store.append([event(1), event(2), event(1, item_id="other")]) == [True, True, False]
    assert store.append([event(3), event(2)]) == [True, False]
    assert open_again().events.append([event(3), event(4)]) == [False, True]
    assert everything(store) == ["e1", "e2", "e3", "e4"]
    assert store.read(BEGINNING, 1)[0] == [event(1)]
    assert store.append([]) == []


def test_reading_goes_on_where_it_stopped(store: EventStore) -> None:
    assert store.read(BEGINNING, 10) == ([], BEGINNING)
    store.append([event(n) for n in range(5)])
    first, cursor = store.read(BEGINNING, 2)
    rest, end = store.read(cursor, 10)
    assert [e.event_id for e in first + rest] == ["e0", "e1", "e2", "e3", "e4"]
    assert store.read(end, 10) == ([], end)
    store.append([event(9)])
    assert [e.event_id for e in store.read(end, 10)[0]] == ["e9"]


def test_the_newest_events(store: EventStore) -> None:
    assert (store.newest(3), store.size()) == (([], BEGINNING), 0)
    store.append([event(n) for n in range(5)])
    events, cursor = store.newest(2)
    assert [e.event_id for e in events] == ["e3", "e4"]
    assert store.read(cursor, 9) == ([], cursor)
    assert store.size() == 5


def test_a_batch_larger_than_any_statement(store: EventStore) -> None:
    events = [event(n) for n in range(2_500)]
    store.append(events[100:2_300])
    assert [n for n, new in enumerate(store.append(events)) if new] == [
        *range(100),
        *range(2_300, 2_500),
    ]
    assert sorted(everything(store, 900)) == sorted(e.event_id for e in events)


def test_checkpoints_outlive_the_process(
    store: EventStore, open_again: Callable[[], Engine]
) -> None:
    store.append([event(n) for n in range(4)])
    assert (store.committed("stream"), store.lag("stream")) == (BEGINNING, 4)
    _, cursor = store.read(BEGINNING, 3)
    store.commit("stream", cursor)
    again = open_again().events
    assert again.committed("stream") == cursor
    assert again.groups() == ["stream"]
    assert again.lag("stream") == 1
    assert again.lag("archive") == 4
    assert [e.event_id for e in again.read(again.committed("stream"), 9)[0]] == ["e3"]
    again.commit("stream", BEGINNING)
    assert store.lag("stream") == 4


def test_events_of_subjects(store: EventStore) -> None:
    store.append([event(1, "a"), event(2, "b"), event(3, "c"), event(4, "a")])
    assert [e.event_id for e in store.of_subjects(["c", "a", "a", "nobody"])] == ["e1", "e3", "e4"]
    assert store.of_subjects([]) == []


def test_erased_is_gone_and_does_not_come_back(store: EventStore) -> None:
    store.append([event(1, "a"), event(2, "b"), event(3, "a")])
    assert store.erase(["a", "nobody"]) == 2
    assert everything(store) == ["e2"]
    assert store.of_subjects(["a"]) == []
    assert store.append([event(1, "a"), event(4, "a")]) == [False, True]
    assert store.erase([]) == 0


def test_erased_bytes_are_on_no_disk(store: EventStore, files: Callable[[], bytes]) -> None:
    store.append([event(n, "forget-me") for n in range(300)] + [event(999, "keep-me")])
    assert b"forget-me" in files()
    assert store.erase(["forget-me"]) == 300
    assert b"forget-me" not in files()
    assert b"keep-me" in files()


def test_places_are_not_used_again(store: EventStore) -> None:
    store.append([event(1, "a"), event(2, "b")])
    _, end = store.read(BEGINNING, 10)
    store.commit("stream", end)
    store.erase(["a", "b"])
    assert store.lag("stream") == 0
    store.append([event(3)])
    assert [e.event_id for e in store.read(end, 10)[0]] == ["e3"]
    assert store.lag("stream") == 1


def test_trimmed_events_stay_known_until_their_ids_are_forgotten(store: EventStore) -> None:
    store.append([event(n) for n in range(4)])
    _, cursor = store.read(BEGINNING, 2)
    assert store.trim(BEGINNING) == 0
    assert store.trim(cursor) == 2
    assert everything(store) == ["e2", "e3"]
    assert [e.event_id for e in store.of_subjects(["u1"])] == ["e2", "e3"]
    assert store.append([event(0), event(1)]) == [False, False]
    assert store.forget_ids(NOW) == 0
    assert store.append([event(0), event(1)]) == [False, False]
    assert store.forget_ids(NOW + 9) == 2  # the others are stored
    assert store.append([event(n) for n in range(4)]) == [True, True, False, False]


def test_ids_received_later_than_asked_stay_known(store: EventStore) -> None:
    for n in (0, 1_000):
        store.append([event(n)])
        _, cursor = store.newest(1)
        store.trim(cursor)
    assert store.forget_ids(NOW + 1_000) == 1
    assert store.append([event(1_000), event(0)]) == [False, True]


def test_writers_at_once_lose_and_double_nothing(
    open_again: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_ids, "TAIL", 20)  # SQLite seals ids all the time
    stores = [open_again().events for _ in range(2)]
    new: list[str] = []

    def write(store: EventStore, start: int) -> None:
        for at in range(start, start + 60, 5):
            batch = [event(n) for n in range(at, at + 10)]  # each id comes from several writers
            fresh = store.append(batch)
            new.extend(e.event_id for e, one in zip(batch, fresh, strict=True) if one)

    threads = [
        threading.Thread(target=write, args=(stores[n % 2], start))
        for n, start in enumerate((0, 20, 40, 40))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = sorted(f"e{n}" for n in range(105))
    assert sorted(new) == wanted
    assert sorted(everything(stores[0], 50)) == wanted


BATCHES = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=6)


@given(batches=BATCHES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_log_is_what_was_new_in_order(
    batches: list[list[int]], open_again: Callable[[], Engine]
) -> None:
    store = open_again().events
    _, start = store.read(BEGINNING, 1_000_000)
    marker = start or "0"  # earlier examples left their events: each has ids of its own
    told: list[StoredEvent] = []
    seen: set[str] = set()
    for batch in batches:
        events = [event(n, event_id=f"{marker}/{n}") for n in batch]
        for each, new in zip(events, store.append(events), strict=True):
            assert new == (each.event_id not in seen)
            seen.add(each.event_id)
            told += [each] if new else []
    assert store.read(start, 1000)[0] == told


def test_mentions_go_and_the_events_stay(store: EventStore, files: Callable[[], bytes]) -> None:
    kept = event(1, subject_id="ben", user_id="ben", visitor_id="device-to-forget")
    shared = event(2, subject_id="ben", user_id="ben", shared_by="user-to-forget")
    other = event(3, subject_id="ben", user_id="ben", visitor_id="another", session_id="s")
    store.append([kept, shared, other])
    assert b"device-to-forget" in files()
    assert store.redact(["user-to-forget"], ["device-to-forget"]) == 2
    first, second, third = store.of_subjects(["ben"])
    assert (first.visitor_id, second.shared_by) == (None, None)
    assert third == other
    assert store.redact(["user-to-forget"], ["device-to-forget"]) == 0
    found = files()
    assert b"device-to-forget" not in found
    assert b"user-to-forget" not in found

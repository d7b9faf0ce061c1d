"""What every store of showings does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from qianmian.campaigns.frequency import (
    KEPT_SECONDS,
    PAUSE_SECONDS,
    FrequencyMemory,
    FrequencyStore,
    Showing,
    SqliteFrequency,
)
from qianmian.campaigns.purse import open_purse
from qianmian.errors import EventStoreError
from qianmian.workspace import Workspace

NOW = 1_700_000_000.5
NUMBERS = count()
SHOWN = [
    Showing("u1", "bread", NOW, "a"),
    Showing("u1", "milk", NOW - 90, "b"),
    Showing("u2", "bread", NOW, "c"),
]
AGAIN = SHOWN[0]._replace(id="d")


@pytest.fixture
def store(settings_of_engine, tmp_path) -> Iterator[FrequencyStore]:
    purse = open_purse(settings_of_engine, Workspace(tmp_path, f"showings-{next(NUMBERS)}"))
    yield purse.showings
    purse.shut()


def test_showings_are_kept_by_subject(store: FrequencyStore) -> None:
    store.add(SHOWN)
    store.add([AGAIN])
    assert sorted(store.of("u1")) == sorted([SHOWN[0], AGAIN, SHOWN[1]])
    assert store.of("u3") == []


def test_a_showing_that_is_written_again_counts_once(store: FrequencyStore) -> None:
    class Lost:
        """The store, whose first answer to a write gets lost."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def add(self, showings: Sequence[Showing]) -> None:
            store.add(showings)
            if not lost:
                lost.append(1)
                raise EventStoreError("timed out")

    lost, spans = list[int](), {"bread": 60.0}
    memory = FrequencyMemory(cast("FrequencyStore", Lost()))
    memory.show([SHOWN[0]])
    with pytest.raises(EventStoreError, match="timed out"):
        memory.write()
    assert memory.count("u1", NOW + 1, spans) == {"bread": 1}
    memory.write()
    assert memory.count("u1", NOW + 1, spans) == {"bread": 1}
    assert store.of("u1") == [SHOWN[0]]


def test_showings_without_ids_get_one(tmp_path: Path) -> None:
    path = tmp_path / "showings.db"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE showings (subject TEXT NOT NULL, campaign TEXT NOT NULL, at REAL);"
        "CREATE INDEX showings_by_subject ON showings (subject);"
        "CREATE INDEX showings_by_time ON showings (at);"
        "INSERT INTO showings VALUES ('u1', 'bread', 1.0), ('u1', 'bread', 1.0);"
        "PRAGMA user_version = 1"
    )
    old.close()
    store = SqliteFrequency(path)
    store.add([SHOWN[0]])
    assert sorted(one.at for one in set(store.of("u1"))) == [1.0, 1.0, NOW]
    store.shut()


def test_a_forgotten_subject_was_shown_nothing(store: FrequencyStore) -> None:
    store.add(SHOWN)
    assert store.forget(["u1", "u3"]) == 2
    assert store.of("u1") == []
    assert store.of("u2") == [SHOWN[2]]


def test_what_was_just_shown_counts_before_it_is_written(store: FrequencyStore) -> None:
    here, elsewhere = FrequencyMemory(store), FrequencyMemory(store)
    spans = {"bread": 60.0, "milk": 60.0}
    here.show(SHOWN)
    assert here.count("u1", NOW + 1, spans) == {"bread": 1, "milk": 0}
    assert elsewhere.count("u1", NOW + 1, spans) == {"bread": 0, "milk": 0}
    here.write()
    here.write()
    assert elsewhere.count("u1", NOW + 1, spans) == {"bread": 1, "milk": 0}
    assert here.count("u1", NOW + 1, spans) == {"bread": 1, "milk": 0}
    assert here.count("u1", NOW + 60, spans) == {"bread": 0, "milk": 0}


def test_a_showing_that_is_written_while_it_is_counted_is_not_missed(store: FrequencyStore) -> None:
    class Slow:
        """The store, read just before the other thread writes."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def of(self, subject: str) -> list[Showing]:
            kept = store.of(subject)
            memory.write()
            return kept

    memory = FrequencyMemory(cast("FrequencyStore", Slow()))
    memory.show(SHOWN)
    assert memory.count("u1", NOW + 1, {"bread": 60.0}) == {"bread": 1}


def test_what_was_read_ahead_is_counted_for_a_moment(store: FrequencyStore) -> None:
    now, spans = [0.0], {"bread": 60.0}
    here = FrequencyMemory(store, clock=lambda: now[0])
    elsewhere = FrequencyMemory(store)
    assert not here.knows("u1")
    here.read("u1")
    assert here.knows("u1")
    elsewhere.show([SHOWN[0]])
    elsewhere.write()
    assert here.count("u1", NOW + 1, spans) == {"bread": 0}
    now[0] += KEPT_SECONDS
    assert not here.knows("u1")
    assert here.count("u1", NOW + 1, spans) == {"bread": 1}
    here.read("u1")
    here.show([AGAIN])
    assert here.count("u1", NOW + 1, spans) == {"bread": 2}
    here.write()
    assert not here.knows("u1"), "what was read lacks what was written since"
    here.read("u1")
    here.forget(["u1"])
    assert not here.knows("u1")
    assert here.count("u1", NOW + 1, spans) == {"bread": 2}


def test_what_was_read_before_a_write_is_not_kept(store: FrequencyStore) -> None:
    class Slow:
        """The store, read just before the other thread writes."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def of(self, subject: str) -> list[Showing]:
            kept = store.of(subject)
            memory.write()
            return kept

    memory = FrequencyMemory(cast("FrequencyStore", Slow()))
    memory.show(SHOWN)
    memory.read("u1")
    assert memory.count("u1", NOW + 1, {"bread": 60.0}) == {"bread": 1}


def test_a_store_that_did_not_answer_is_not_asked_again_at_once() -> None:
    class Broken:
        def of(self, _: str) -> list[Showing]:
            asked.append(1)
            raise EventStoreError("no answer")

    asked: list[int] = []
    memory = FrequencyMemory(cast("FrequencyStore", Broken()))
    memory.read("u1")
    with pytest.raises(EventStoreError, match="no answer"):
        memory.count("u1", NOW, {"bread": 60.0})
    memory.read("u2")
    assert memory.knows("u2"), "nor for somebody else"
    with pytest.raises(EventStoreError, match="no answer"):
        memory.count("u2", NOW, {"bread": 60.0})
    assert len(asked) == 1


def test_a_store_that_was_given_up_is_read_again_after_a_pause(store: FrequencyStore) -> None:
    now, spans = [0.0], {"bread": 60.0}
    memory = FrequencyMemory(store, clock=lambda: now[0])
    store.add(SHOWN)
    memory.give_up()
    assert memory.knows("u1")
    with pytest.raises(EventStoreError, match="not read in time"):
        memory.count("u1", NOW, spans)
    now[0] += PAUSE_SECONDS
    assert not memory.knows("u1")
    with pytest.raises(EventStoreError, match="not read in time"):
        memory.count("u1", NOW, spans)  # who counts must not wait for a store that may hang
    memory.read("u1")
    assert memory.count("u1", NOW, spans) == {"bread": 1}
    assert memory.count("u2", NOW, spans) == {"bread": 1}


@pytest.mark.parametrize("fault", [None, "no answer"])
def test_a_slow_answer_is_good_for_the_page_that_waited_for_it(fault: str | None) -> None:
    class Slow:
        def of(self, _: str) -> list[Showing]:
            asked.append(1)
            now[0] += 60
            memory.forget(["u2"])
            memory.show([Showing("u2", "bread", NOW, "e")])
            memory.write()
            if fault:
                raise EventStoreError(fault)
            return [SHOWN[0]]

        def add(self, _: object) -> None:
            """Others are written meanwhile, and forgotten."""

    now, asked = [0.0], list[int]()
    memory = FrequencyMemory(cast("FrequencyStore", Slow()), clock=lambda: now[0])
    memory.read("u1")
    assert memory.knows("u1")
    if fault:
        with pytest.raises(EventStoreError, match=fault):
            memory.count("u1", NOW + 1, {"bread": 60.0})
    else:
        assert memory.count("u1", NOW + 1, {"bread": 60.0}) == {"bread": 1}
    assert len(asked) == 1


def test_reading_leaves_nothing_behind(store: FrequencyStore) -> None:
    memory = FrequencyMemory(store)
    for subject in ("u1", "u2", "u1"):
        memory.read(subject)
    assert not memory._under_way

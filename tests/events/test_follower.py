"""A way along the log that is kept elsewhere, and the log that is there when it is taken up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qianmian.events.follower import Follower
from qianmian.events.sqlite_store import SqliteEventStore
from qianmian.events.store import BEGINNING
from tests.events.made import event


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[SqliteEventStore]:
    store = SqliteEventStore(tmp_path / "moved.db")
    yield store
    store.close()


def follower(log: SqliteEventStore, behind: str | None = None) -> Follower:
    return Follower(log, "billing", behind=behind, page=2)


def everything(one: Follower, place: str) -> tuple[list[str], str]:
    found: list[str] = []
    while True:
        page, place = one.read(place)
        if not page:
            return found, place
        found += [each.event_id for each in page]


def test_the_way_goes_on_where_it_was(log: SqliteEventStore) -> None:
    log.append([event(n) for n in range(5)])
    found, place = everything(follower(log), BEGINNING)
    assert found == ["e0", "e1", "e2", "e3", "e4"]
    assert everything(follower(log), place) == ([], place)
    log.append([event(5)])
    assert everything(follower(log), place)[0] == ["e5"]


def test_a_place_that_names_no_log_is_of_this_one(log: SqliteEventStore) -> None:
    log.append([event(n) for n in range(5)])
    assert everything(follower(log), "3")[0] == ["e3", "e4"]


def test_another_log_begins_where_it_begins(log: SqliteEventStore, moved: SqliteEventStore) -> None:
    log.append([event(n) for n in range(5)])
    _, place = everything(follower(log), BEGINNING)
    moved.append([event(n) for n in range(10, 13)])
    one = follower(moved)
    assert one.read(place)[0][0].event_id == "e10"
    assert moved.groups() == ["billing"], "what it did not read must not be archived"
    assert moved.lag("billing") == 3
    found, place = everything(one, place)
    assert found == ["e10", "e11", "e12"]
    one.commit(place)
    assert moved.lag("billing") == 0


def test_nobody_goes_ahead_of_whom_it_follows(
    log: SqliteEventStore, moved: SqliteEventStore
) -> None:
    log.append([event(n) for n in range(5)])
    log.commit("stream", "3")
    found, place = everything(follower(log, behind="stream"), BEGINNING)
    assert found == ["e0", "e1", "e2"]
    moved.append([event(n) for n in range(10, 13)])
    assert everything(follower(moved, behind="stream"), place) == ([], place)
    moved.commit("stream", "1")
    assert everything(follower(moved, behind="stream"), place)[0] == ["e10"]

"""A way along the log that is kept elsewhere, and the log that is there when it is taken up."""

from __future__ import annotations

import sqlite3
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


def everything(one: Follower, cursor: str) -> tuple[list[str], str]:
    found: list[str] = []
    while True:
        page, cursor = one.read(cursor)
        if not page:
            return found, cursor
        found += [each.event_id for each in page]


def test_the_way_goes_on_where_it_was(log: SqliteEventStore) -> None:
    log.append([event(n) for n in range(5)])
    found, cursor = everything(follower(log), BEGINNING)
    assert found == ["e0", "e1", "e2", "e3", "e4"]
    assert everything(follower(log), cursor) == ([], cursor)
    log.append([event(5)])
    assert everything(follower(log), cursor)[0] == ["e5"]


def test_a_cursor_that_names_no_log_is_of_the_one_that_knows_the_group(
    log: SqliteEventStore, moved: SqliteEventStore
) -> None:
    for store in (log, moved):
        store.append([event(n) for n in range(5)])
    log.commit("billing", "2")
    assert everything(follower(log), "3")[0] == ["e3", "e4"]
    assert everything(follower(moved), "3")[0] == ["e0", "e1", "e2", "e3", "e4"]


def test_another_log_begins_where_it_begins(log: SqliteEventStore, moved: SqliteEventStore) -> None:
    log.append([event(n) for n in range(5)])
    _, cursor = everything(follower(log), BEGINNING)
    moved.append([event(n) for n in range(10, 13)])
    one = follower(moved)
    assert one.read(cursor)[0][0].event_id == "e10"
    assert moved.groups() == ["billing"], "what it did not read must not be archived"
    assert moved.lag("billing") == 3
    found, cursor = everything(one, cursor)
    assert found == ["e10", "e11", "e12"]
    one.commit(cursor)
    assert moved.lag("billing") == 0


def test_a_former_log_that_is_put_back_goes_on_where_it_was(
    log: SqliteEventStore, moved: SqliteEventStore
) -> None:
    log.append([event(n) for n in range(5)])
    moved.append([event(n) for n in range(10, 13)])
    cursor = BEGINNING
    for store in (log, moved):
        one = follower(store)
        _, cursor = everything(one, cursor)
        one.commit(cursor)
    log.append([event(5)])
    assert everything(follower(log), cursor)[0] == ["e5"]


def test_a_log_that_is_made_anew_under_it_begins_where_it_begins(
    log: SqliteEventStore, tmp_path: Path
) -> None:
    log.append([event(n) for n in range(5)])
    one = follower(log)
    _, cursor = everything(one, BEGINNING)
    one.commit(cursor)
    with sqlite3.connect(tmp_path / "events.db") as connection:  # as after Redis's FLUSHALL
        connection.executescript("UPDATE log SET name = 'new'; DELETE FROM consumers")
    connection.close()
    assert everything(one, cursor)[0] == ["e0", "e1", "e2", "e3", "e4"]


def test_nobody_goes_ahead_of_whom_it_follows(
    log: SqliteEventStore, moved: SqliteEventStore
) -> None:
    log.append([event(n) for n in range(5)])
    log.commit("stream", "3")
    found, cursor = everything(follower(log, behind="stream"), BEGINNING)
    assert found == ["e0", "e1", "e2"]
    moved.append([event(n) for n in range(10, 13)])
    assert everything(follower(moved, behind="stream"), cursor) == ([], cursor)
    moved.commit("stream", "1")
    assert everything(follower(moved, behind="stream"), cursor)[0] == ["e10"]

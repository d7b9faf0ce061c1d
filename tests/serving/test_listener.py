"""The listener: facts reach whoever subscribed, whatever else fails."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from qianmian.errors import EventStoreError
from qianmian.events.changes import Change
from qianmian.events.sqlite_changes import SqliteChanges
from serving.listener import Listener


@pytest.fixture
def changes(tmp_path) -> Iterator[SqliteChanges]:
    opened = SqliteChanges(tmp_path / "changes.db")
    yield opened
    opened.close()


def wait_for(condition, seconds: float = 5.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not come about"
        sleep(0.005)


def test_what_is_there_comes_at_the_start_and_changes_follow(changes: SqliteChanges) -> None:
    changes.put("stock", {"i1": b"4"})
    heard: list[Change] = []
    listener = Listener(changes, every=0.01)
    listener.subscribe("stock", heard.extend)
    listener.start()
    try:
        assert heard == [Change("stock", "i1", b"4")]
        changes.put("users", {"u1": b""})
        changes.put("stock", {"i1": b"3"})
        wait_for(lambda: len(heard) == 2)
        assert heard[1] == Change("stock", "i1", b"3")
    finally:
        listener.stop()


def test_a_fault_of_one_part_does_not_reach_the_others(changes: SqliteChanges) -> None:
    heard: list[Change] = []
    failures: list[str] = []

    def broken(_: object) -> None:
        raise ZeroDivisionError

    listener = Listener(changes, every=60.0, on_failure=failures.append)
    listener.subscribe("stock", broken)
    listener.subscribe("stock", heard.extend)
    changes.put("stock", {"i1": b"4"})
    assert listener.catch_up() == 1
    assert heard == [Change("stock", "i1", b"4")]
    assert failures == ["subscriber_failed"]
    assert listener.catch_up() == 0


class Moody:
    """Topics whose engine does not answer until it is well."""

    def __init__(self, changes: SqliteChanges) -> None:
        self._changes = changes
        self.well = False

    def since(self, cursor: int, limit: int = 10_000) -> tuple[list[Change], int]:
        if not self.well:
            raise EventStoreError("not reachable")
        return self._changes.since(cursor, limit)


def test_it_goes_on_once_the_engine_answers(changes: SqliteChanges, monkeypatch) -> None:
    monkeypatch.setattr("serving.listener._PATIENCE", 0.01)
    moody, heard, failures = Moody(changes), [], []
    listener = Listener(moody, every=0.01, on_failure=failures.append)
    listener.subscribe("stock", heard.extend)
    changes.put("stock", {"i1": b"4"})
    listener.start()
    try:
        assert (heard, failures[:1]) == ([], ["changes_unavailable"])
        moody.well = True
        wait_for(lambda: heard == [Change("stock", "i1", b"4")])
    finally:
        listener.stop()

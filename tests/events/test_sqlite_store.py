"""SQLite as a disk that fills up, a file of another version, and a process that dies writing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from qianmian.errors import EventStoreError
from qianmian.events import known_ids
from qianmian.events.known_ids import KnownIds
from qianmian.events.sqlite_store import SqliteEventStore, id_hash
from qianmian.events.store import BEGINNING
from qianmian.workspace import PROJECT_ROOT
from tests.events.made import NOW, event


def test_a_full_disk_keeps_nothing_of_the_batch(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path / "events.db")
    store.append([event(0)])
    with store._file.reading() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    batch = [event(n, session_id="x" * 200) for n in range(1, 400)]
    with pytest.raises(EventStoreError, match="full; look at free space"):
        store.append(batch)
    assert [one.event_id for one in store.read(BEGINNING, 1000)[0]] == ["e0"]
    with store._file.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert store.append(batch) == [True] * 399
    store.close()


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EventStoreError, match="is of version 99"):
        SqliteEventStore(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventStoreError, match="look at free space and rights"):
        SqliteEventStore(tmp_path / "file" / "events.db")


def test_threads_that_ended_leave_no_connection_open(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path / "events.db")
    for _ in range(20):
        with ThreadPoolExecutor(1) as one:
            assert one.submit(store.size).result() == 0
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert links.count(str(tmp_path / "events.db")) <= 4
    store.close()


WRITER = """
import sys
from pathlib import Path
from qianmian.events import known_ids
from qianmian.events.sqlite_store import SqliteEventStore
from tests.events.made import event
known_ids.TAIL = int(sys.argv[2])
store = SqliteEventStore(Path(sys.argv[1]))
for start in range(0, 1_000_000, 50):
    store.append([event(n) for n in range(start, start + 50)])
    print(start + 50, flush=True)
"""


@pytest.mark.parametrize("tail", [50, 1_000_000], ids=["always sealing", "never sealing"])
def test_a_process_killed_while_writing_leaves_whole_batches(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "events.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(tail)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout
    for _ in range(8):
        told = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    told = int((writer.stdout.read().split() or [told])[-1])
    writer.wait()
    writer.stdout.close()
    store = SqliteEventStore(path)
    events, _ = store.read(BEGINNING, 1_000_000)
    assert len(events) >= told
    assert [one.event_id for one in events] == [f"e{n}" for n in range(len(events))]
    assert len(events) % 50 == 0
    assert not any(store.append(events))
    store.close()


def test_what_fails_while_ids_are_learned_makes_no_id_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails, for one, at whatever step."""
    monkeypatch.setattr(known_ids, "TAIL", 4)
    path, events = tmp_path / "events.db", [event(n) for n in range(11)]
    store = SqliteEventStore(path)
    for start in range(0, 11, 2):
        store.append(events[start : start + 2])
    store.close()
    steps_that_failed = 0
    for steps in count(1):
        store = SqliteEventStore(path)
        done = count(1)
        with store._file.reading() as connection:
            connection.set_progress_handler(lambda: next(done) == steps, 1)  # noqa: B023
            try:
                assert store.append(events) == [False] * 11
                break
            except EventStoreError as error:
                assert "interrupted" in str(error)  # noqa: PT017 - it need not be raised
            connection.set_progress_handler(None, 0)
        steps_that_failed += 1
        assert store.append(events) == [False] * 11, f"after {steps} steps"
        store.close()
    store.close()
    assert steps_that_failed > 50


@pytest.mark.parametrize("gone", ["4", "6"])
def test_what_is_trimmed_while_ids_are_learned_stays_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    path, events = tmp_path / "events.db", [event(n) for n in range(6)]
    other = SqliteEventStore(path)
    other.append(events)
    other.trim("2")
    load, loads = KnownIds._load, count()

    def load_and_trim(known: KnownIds, connection: sqlite3.Connection) -> None:
        load(known, connection)
        if next(loads) == 0:
            assert other.trim(gone) == int(gone) - 2

    monkeypatch.setattr(KnownIds, "_load", load_and_trim)
    store = SqliteEventStore(path)
    assert store.append([*events, event(6)]) == [False] * 6 + [True]
    for one in (store, other):
        one.close()


@pytest.mark.parametrize("how", ["erase", "redact"])
def test_events_are_taken_while_an_erasure_reads_the_log(tmp_path: Path, how: str) -> None:
    store, other = (SqliteEventStore(tmp_path / "events.db") for _ in range(2))
    kept = [event(n, "ben", visitor_id="d-1") for n in range(300)]
    store.append([*kept, event(300, "anna"), event(301, "ben", visitor_id="d-2")])
    with other._file.reading() as connection:
        connection.execute("PRAGMA busy_timeout = 50")
    late = [event(302, "anna"), event(303, "ben", visitor_id="d-2"), event(304, "ben")]
    told: list[list[bool]] = []

    def meanwhile() -> None:
        if not told:
            told.append([])  # only once
            told[0] = other.append(late)

    with store._file.reading() as connection:
        connection.set_progress_handler(meanwhile, 500)
        if how == "erase":
            assert store.erase(["anna"]) == 2
        else:
            assert store.redact(["anna"], ["d-2"]) == 2
        connection.set_progress_handler(None, 0)
    assert told == [[True] * 3]
    left = {one.event_id: one for one in store.read(BEGINNING, 999)[0]}
    assert ("e300" in left, "e302" in left) == (how == "redact", how == "redact")
    assert left["e299"].visitor_id == "d-1"
    assert (left["e301"].visitor_id, left["e303"].visitor_id) == (
        ("d-2", "d-2") if how == "erase" else (None, None)
    )
    store.close()
    other.close()


FORMER = """
CREATE TABLE ids (id BLOB PRIMARY KEY, received_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    subject_id TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX events_by_subject ON events (subject_id);
CREATE TABLE consumers (consumers TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


def test_a_file_of_the_former_layout_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_ids, "TAIL", 4)
    path = tmp_path / "events.db"
    events = [event(n, f"u{n % 2}") for n in range(10)]
    with sqlite3.connect(path) as connection:
        connection.executescript(FORMER)
        ids = [(id_hash(one.event_id), one.received_at) for one in events]
        connection.executemany("INSERT INTO ids VALUES (?, ?)", ids)
        connection.executemany(
            "INSERT INTO events (id, subject_id, body) VALUES (?, ?, ?)",
            [(id_hash(one.event_id), one.subject_id, one.to_json()) for one in events],
        )
        connection.execute("DELETE FROM events WHERE place <= 3")
        connection.execute("INSERT INTO consumers VALUES ('stream', 5)")
    connection.close()
    store = SqliteEventStore(path)
    assert store.read(BEGINNING, 99)[0] == events[3:]
    assert store.append([*events, event(10, "u0")]) == [False] * 10 + [True]
    assert (store.committed("stream"), store.lag("stream")) == ("5", 6)
    name = store.name()
    assert [one.event_id for one in store.of_subjects(["u1"])] == ["e3", "e5", "e7", "e9"]
    assert store.erase(["u1"]) == 4
    assert store.trim("11") == 4
    assert store.forget_ids(NOW + 7) == 4  # the oldest run of them
    store.close()
    store = SqliteEventStore(path)
    assert store.append([event(n, "u0") for n in range(11)]) == [True] * 4 + [False] * 7
    assert store.name() == name
    store.close()


def test_what_an_event_costs_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Pages written, for they say it whatever else the machine does."""
    store = SqliteEventStore(tmp_path / "events.db")
    written = []
    for start in range(0, 60_000, 2_000):
        store._file.checkpoint()
        store.append([event(n, f"u{n * 7_919 % 5_000}") for n in range(start, start + 2_000)])
        written.append((tmp_path / "events.db-wal").stat().st_size)
    assert max(written[20:]) < 1.5 * max(written[:10]) + known_ids.TAIL * known_ids.ID_BYTES
    assert sum(written[20:]) < 1.5 * sum(written[:10]) + known_ids.TAIL * known_ids.ID_BYTES
    store.close()

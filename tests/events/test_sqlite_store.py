"""SQLite as a disk that fills up, a file of another version, and a process that dies writing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qianmian.errors import EventStoreError
from qianmian.events.sqlite_store import SqliteEventStore
from qianmian.events.store import BEGINNING
from qianmian.workspace import PROJECT_ROOT
from tests.events.made import event


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
from qianmian.events.sqlite_store import SqliteEventStore
from tests.events.made import event
store = SqliteEventStore(Path(sys.argv[1]))
for start in range(0, 1_000_000, 50):
    store.append([event(n) for n in range(start, start + 50)])
    print(start + 50, flush=True)
"""


def test_a_process_killed_while_writing_leaves_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
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
    store.close()

"""A SQLite file that others make, write to, or change the layout of."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from qianmian.errors import EventStoreError
from qianmian.events.sqlite_file import SqliteFile
from qianmian.events.sqlite_store import SqliteEventStore
from tests.events.made import event


def test_a_transaction_that_cannot_be_taken_back_holds_nobody_up(tmp_path: Path) -> None:
    store, other = (SqliteEventStore(tmp_path / "events.db") for _ in range(2))

    refused = pytest.raises(EventStoreError, match="not authorized")
    with refused, store._file.writing() as connection:
        connection.execute("INSERT INTO consumers VALUES ('half', 1)")
        connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
    assert other.append([event(1)]) == [True]
    assert store.append([event(1), event(2)]) == [False, True]
    assert store.groups() == []
    store.close()
    other.close()


def test_who_comes_while_another_process_changes_the_layout_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "table.db"
    SqliteFile(path, schema="CREATE TABLE one (n)", version=1).close()
    begun, done = threading.Event(), threading.Event()

    def long(connection: sqlite3.Connection) -> None:
        begun.set()
        done.wait(0.4)
        connection.execute("ALTER TABLE one ADD COLUMN m")

    def open_it(_: int) -> SqliteFile:
        return SqliteFile(path, schema="", version=2, upgrades={1: long}, busy=0.05)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(open_it, 1)
        assert begun.wait(5)
        second = threads.submit(open_it, 2)
        for one in (first, second):
            with one.result().writing() as connection:
                connection.execute("INSERT INTO one (n, m) VALUES (1, 2)")
            one.result().close()


def test_who_finds_the_file_being_made_waits_for_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "table.db", check_same_thread=False)) as maker:
        maker.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, maker.rollback).start()
        SqliteFile(tmp_path / "table.db", schema="CREATE TABLE one (n)", version=1).close()
    with closing(sqlite3.connect(tmp_path / "other.db")) as maker:
        maker.execute("BEGIN IMMEDIATE")
        with pytest.raises(EventStoreError, match="locked"):
            SqliteFile(tmp_path / "other.db", schema="", version=1, busy=0.05)


def test_a_file_can_be_opened_while_somebody_writes_to_it(tmp_path: Path) -> None:
    one = SqliteFile(tmp_path / "table.db", schema="CREATE TABLE one (n)", version=1)
    with one.writing():
        other = SqliteFile(tmp_path / "table.db", schema="", version=1, busy=0.05)
    for file in (one, other):
        file.close()


CLOSED_UNDER_OTHERS = """
    import sys
    import threading
    from pathlib import Path
    from qianmian.errors import EventStoreError
    from qianmian.events.sqlite_file import SqliteFile

    file = SqliteFile(Path(sys.argv[1]), schema="CREATE TABLE one (n)", version=1, busy=0.2)
    ending, refused = threading.Event(), []

    def work():
        while not ending.is_set():
            try:
                with file.reading() as connection:
                    connection.execute(
                        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 3000)"
                        " SELECT max(n) FROM c, (SELECT count(*) FROM one)"
                    ).fetchall()
            except EventStoreError as error:
                refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        file.close()
    ending.set()
    for thread in threads:
        thread.join()
    file.close()
    print("ended")
"""


def test_closing_under_the_statements_of_other_threads_ends_no_process(tmp_path: Path) -> None:
    script = [sys.executable, "-c", textwrap.dedent(CLOSED_UNDER_OTHERS), tmp_path / "table.db"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr[-2_000:]

"""How the event log lies in its SQLite file, and how files of former layouts are brought to it."""

from __future__ import annotations

import sqlite3
from typing import Final

from qianmian.events import known_ids
from qianmian.events.sqlite_file import Upgrade, run_script

VERSION: Final = 3
_NAMED: Final = """
CREATE TABLE log (name TEXT NOT NULL);
INSERT INTO log VALUES (lower(hex(randomblob(8))))
"""
SCHEMA: Final = f"""
CREATE TABLE events (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    subject_id TEXT NOT NULL,
    body BLOB NOT NULL,
    received_at REAL
);
CREATE TABLE consumers (consumers TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
{known_ids.SCHEMA};
{_NAMED}
"""


def _seal_all(connection: sqlite3.Connection) -> None:
    """From 1: all ids lay in one tree, and events had an index by subject."""
    run_script(connection, f"{known_ids.SCHEMA}; ALTER TABLE events ADD COLUMN received_at REAL")
    (last,) = connection.execute("SELECT coalesce(max(place), 0) FROM events").fetchone()
    rows = connection.execute("SELECT id, received_at FROM ids ORDER BY received_at")
    while chunk := rows.fetchmany(known_ids.TAIL):
        ids = b"".join(id_ for id_, _ in chunk)
        known_ids.add_run(connection, ids, first=0, last=last, newest=chunk[-1][1])
    connection.execute("UPDATE progress SET sealed = ?", (last,))
    run_script(connection, "DROP TABLE ids; DROP INDEX events_by_subject")


def _name(connection: sqlite3.Connection) -> None:
    """From 2: a log had no name."""
    run_script(connection, _NAMED)


UPGRADES: Final[dict[int, Upgrade]] = {1: _seal_all, 2: _name}

"""The event log in one SQLite file: the engine of one machine.

Ids live apart from events, as 16-byte hashes, and outlive them: an event that was archived or
erased is still known. A batch goes in with a handful of statements of many rows each. That is not
for SQLite's sake: Python's driver gives up the interpreter lock for every step, and in a process
that is busy answering pages it would wait for the lock again after each single row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from qianmian.events.event import StoredEvent
from qianmian.events.sqlite_file import SqliteFile
from qianmian.events.store import BEGINNING

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE ids (id BLOB PRIMARY KEY, received_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    subject_id TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX events_by_subject ON events (subject_id);
CREATE TABLE consumers (consumers TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID
"""
_ID_BYTES: Final = 16
_ROWS: Final = tuple(1 << n for n in reversed(range(11)))  # sizes of statements, 1024 to 1

_Row = tuple[bytes, float, str, bytes]  # id, received at, subject, body


class SqliteEventStore:
    """`EventStore` on SQLite."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, schema=_SCHEMA, version=_VERSION)

    def append(self, events: Sequence[StoredEvent]) -> list[bool]:
        first: dict[bytes, StoredEvent] = {}
        ids = [id_hash(event.event_id) for event in events]
        for id_, event in zip(ids, events, strict=True):
            first.setdefault(id_, event)
        rows = [
            (id_, event.received_at, event.subject_id, event.to_json())
            for id_, event in first.items()
        ]
        if not rows:
            return []
        with self._file.writing() as connection:
            rows = [row for chunk in _cut(rows) for row in _insert(connection, chunk)]
        fresh = {row[0] for row in rows}
        new = []
        for id_ in ids:
            new.append(id_ in fresh)
            fresh.discard(id_)  # once: what stands again in this batch is a duplicate
        return new

    def read(self, after: str, limit: int) -> tuple[list[StoredEvent], str]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT place, body FROM events WHERE place > ? ORDER BY place LIMIT ?",
                (_place(after), limit),
            ).fetchall()
        events = [StoredEvent.from_json(body) for _, body in rows]
        return events, str(rows[-1][0]) if rows else after

    def newest(self, limit: int) -> tuple[list[StoredEvent], str]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT place, body FROM events ORDER BY place DESC LIMIT ?", (limit,)
            ).fetchall()
        events = [StoredEvent.from_json(body) for _, body in reversed(rows)]
        return events, str(rows[0][0]) if rows else BEGINNING

    def size(self) -> int:
        with self._file.reading() as connection:
            (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
        return int(count)

    def committed(self, group: str) -> str:
        with self._file.reading() as connection:
            row = connection.execute(
                "SELECT place FROM consumers WHERE consumers = ?", (group,)
            ).fetchone()
        return str(row[0]) if row else BEGINNING

    def commit(self, group: str, cursor: str) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO consumers (consumers, place) VALUES (?, ?)",
                (group, _place(cursor)),
            )

    def groups(self) -> list[str]:
        with self._file.reading() as connection:
            rows = connection.execute("SELECT consumers FROM consumers ORDER BY consumers")
            return [group for (group,) in rows.fetchall()]

    def lag(self, group: str) -> int:
        with self._file.reading() as connection:
            (last,) = connection.execute("SELECT max(place) FROM events").fetchone()
        return max(0, (last or 0) - _place(self.committed(group)))

    def of_subjects(self, subject_ids: Sequence[str]) -> list[StoredEvent]:
        found: list[tuple[int, bytes]] = []
        with self._file.reading() as connection:
            for marks, chunk in _chunks(dict.fromkeys(subject_ids)):
                found += connection.execute(
                    f"SELECT place, body FROM events WHERE subject_id IN ({marks})",  # noqa: S608
                    chunk,
                ).fetchall()
        return [StoredEvent.from_json(body) for _, body in sorted(found)]

    def erase(self, subject_ids: Sequence[str]) -> int:
        erased = 0
        with self._file.writing() as connection:
            for marks, chunk in _chunks(dict.fromkeys(subject_ids)):
                erased += connection.execute(
                    f"DELETE FROM events WHERE subject_id IN ({marks})",  # noqa: S608
                    chunk,
                ).rowcount
        self._file.checkpoint()
        return erased

    def redact(self, user_ids: Sequence[str], visitor_ids: Sequence[str]) -> int:
        redacted = 0
        users, visitors = set(user_ids), set(visitor_ids)
        with self._file.writing() as connection:
            for mentioned in (users | visitors) - {""}:
                quoted = orjson.dumps(mentioned)
                rows = connection.execute(
                    "SELECT place, body FROM events WHERE instr(body, ?)", (quoted,)
                ).fetchall()
                for place, body in rows:
                    event = StoredEvent.from_json(body)
                    clean = event.without(users, visitors)
                    if clean is not event:
                        connection.execute(
                            "UPDATE events SET body = ? WHERE place = ?", (clean.to_json(), place)
                        )
                        redacted += 1
        self._file.checkpoint()
        return redacted

    def trim(self, before: str) -> int:
        with self._file.writing() as connection:
            return connection.execute(
                "DELETE FROM events WHERE place <= ?", (_place(before),)
            ).rowcount

    def forget_ids(self, received_before: float) -> int:
        with self._file.writing() as connection:
            return connection.execute(
                "DELETE FROM ids WHERE received_at < ? AND id NOT IN (SELECT id FROM events)",
                (received_before,),
            ).rowcount

    def close(self) -> None:
        self._file.close()


def id_hash(event_id: str) -> bytes:
    """Return what is kept of an event id: short, of one length, and nothing personal."""
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES).digest()


def _place(cursor: str) -> int:
    return int(cursor) if cursor != BEGINNING else 0


def _known(connection: sqlite3.Connection, ids: list[bytes]) -> set[bytes]:
    """Return which ids are there; one row a statement, for each row costs the interpreter lock."""
    known: set[bytes] = set()
    for marks, chunk in _chunks(ids):
        (found,) = connection.execute(
            f"SELECT group_concat(hex(id), '') FROM ids WHERE id IN ({marks})",  # noqa: S608
            chunk,
        ).fetchone()
        if found:
            raw = bytes.fromhex(found)
            known.update(raw[at : at + _ID_BYTES] for at in range(0, len(raw), _ID_BYTES))
    return known


def _insert(connection: sqlite3.Connection, rows: Sequence[_Row]) -> Sequence[_Row]:
    """Insert the rows whose id is not known yet, and return them."""
    try:
        _insert_ids(connection, rows)
    except sqlite3.IntegrityError:  # the whole statement was undone, and nothing but it
        known = _known(connection, [row[0] for row in rows])
        rows = [row for row in rows if row[0] not in known]
        for chunk in _cut(rows):
            _insert_ids(connection, chunk)
    for chunk in _cut(rows):
        connection.execute(
            f"INSERT INTO events (id, subject_id, body) VALUES {_marks(3, len(chunk))}",  # noqa: S608
            [value for id_, _, subject_id, body in chunk for value in (id_, subject_id, body)],
        )
    return rows


def _insert_ids(connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    connection.execute(
        f"INSERT INTO ids (id, received_at) VALUES {_marks(2, len(rows))}",  # noqa: S608
        [value for id_, received_at, _, _ in rows for value in (id_, received_at)],
    )


@cache
def _marks(width: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * rows)


def _cut(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Cut rows into the largest statements that there are, so that few are prepared and run."""
    at = 0
    for size in _ROWS:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _chunks(values: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Cut values for `IN (...)`: the marks and the values of each statement."""
    rest = iter(values)
    while chunk := list(islice(rest, _ROWS[0])):
        yield ", ".join("?" * len(chunk)), chunk

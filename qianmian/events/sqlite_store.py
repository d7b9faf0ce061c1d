"""The event log in one SQLite file: the engine of one machine.

Events lie in the order in which they came and nothing else is written with them: what an event
costs does not grow with the log. Their ids outlive them (`qianmian.events.known_ids`): an event
that was archived or erased is still known. Whose events they are is looked for by reading the log,
for only an erasure asks. A batch goes in with a handful of statements of many rows each. That is
not for SQLite's sake: Python's driver gives up the interpreter lock for every step, and in a
process that is busy answering pages it would wait for the lock again after each single row.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import orjson

from qianmian.events import known_ids
from qianmian.events.event import StoredEvent, json_of
from qianmian.events.known_ids import ID_BYTES, KnownIds
from qianmian.events.sqlite_file import SqliteFile
from qianmian.events.sqlite_layout import SCHEMA, UPGRADES, VERSION
from qianmian.events.store import BEGINNING

_ROWS: Final = tuple(1 << n for n in reversed(range(11)))  # sizes of statements, 1024 to 1

_Row = tuple[bytes, str, bytes, float]  # id, subject, body, received at


class SqliteEventStore:
    """`EventStore` on SQLite."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, schema=SCHEMA, version=VERSION, upgrades=UPGRADES)
        self._known = KnownIds()
        self._appending = threading.Lock()  # holds `_known`

    def append(self, events: Sequence[StoredEvent]) -> list[bool]:
        if not events:
            return []
        ids = [id_hash(event.event_id) for event in events]
        rows: dict[bytes, _Row] = {}
        for id_, event, body in zip(ids, events, json_of(events), strict=True):
            rows.setdefault(id_, (id_, event.subject_id, body, event.received_at))
        with self._appending:
            known = self._append(rows)
        if not known and len(rows) == len(ids):
            return [True] * len(ids)
        fresh = rows.keys() - known
        new = []
        for id_ in ids:
            new.append(id_ in fresh)
            fresh.discard(id_)  # once: what stands again in this batch is a duplicate
        return new

    def _append(self, rows: Mapping[bytes, _Row]) -> set[bytes]:
        """Store what is not known yet in one transaction, and return what is known."""
        ids, self._known = self._known, KnownIds()  # of what fails in its midst nothing is kept
        with self._file.reading() as connection:  # the long part: others may write meanwhile
            ids.catch_up(connection)
        self._known = ids  # a log that is merely locked takes nothing from it
        with self._file.writing() as connection:
            self._known = KnownIds()  # what `ids` learns from here on may be taken back
            ids.catch_up(connection)
            known = ids.among(connection, list(rows))
            new = [row for id_, row in rows.items() if id_ not in known]
            if new:
                ids.add([row[0] for row in new], _insert(connection, new))
                ids.seal_if_long(connection)
        self._known = ids
        return known

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

    def name(self) -> str:
        with self._file.reading() as connection:
            (name,) = connection.execute("SELECT name FROM log").fetchone()
        return str(name)

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
            last = _last_place(connection)
        return max(0, last - _place(self.committed(group)))

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
        subjects = list(dict.fromkeys(subject_ids))
        if not subjects:
            return 0
        with self._file.reading() as connection:  # the long part: others may write meanwhile
            last = _last_place(connection)
            places = _places(connection, subjects, after=0)
        erased = 0
        with self._file.writing() as connection:
            places += _places(connection, subjects, after=last)
            if places:
                known_ids.seal(connection, _last_place(connection))
            for marks, chunk in _chunks(dict.fromkeys(places)):
                erased += connection.execute(
                    f"DELETE FROM events WHERE place IN ({marks})",  # noqa: S608
                    chunk,
                ).rowcount
        self._file.checkpoint()
        return erased

    def redact(self, user_ids: Sequence[str], visitor_ids: Sequence[str]) -> int:
        redacted = 0
        users, visitors = set(user_ids), set(visitor_ids)
        sought = [orjson.dumps(one) for one in (users | visitors) - {""}]
        with self._file.reading() as connection:  # the long part: others may write meanwhile
            last = _last_place(connection)
            places = _mentioning(connection, sought, after=0)
        with self._file.writing() as connection:
            places += _mentioning(connection, sought, after=last)
            for place in dict.fromkeys(places):
                row = connection.execute(
                    "SELECT body FROM events WHERE place = ?", (place,)
                ).fetchone()
                if row is None:  # trimmed or erased since
                    continue
                event = StoredEvent.from_json(row[0])
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
            known_ids.seal(connection, min(_place(before), _last_place(connection)))
            return connection.execute(
                "DELETE FROM events WHERE place <= ?", (_place(before),)
            ).rowcount

    def forget_ids(self, received_before: float) -> int:
        with self._file.writing() as connection:
            return known_ids.forget(connection, received_before)

    def close(self) -> None:
        self._file.close()


def id_hash(event_id: str) -> bytes:
    """Return what is kept of an event id: short, of one length, and nothing personal."""
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).digest()


def _place(cursor: str) -> int:
    return int(cursor) if cursor != BEGINNING else 0


def _last_place(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT max(place) FROM events").fetchone()
    return last or 0


def _places(connection: sqlite3.Connection, subjects: Sequence[str], *, after: int) -> list[int]:
    """Return the places of some subjects' events behind a place."""
    found: list[int] = []
    for marks, chunk in _chunks(subjects):
        found += [
            place
            for (place,) in connection.execute(
                f"SELECT place FROM events WHERE place > ? AND subject_id IN ({marks})",  # noqa: S608
                [after, *chunk],
            )
        ]
    return found


def _mentioning(
    connection: sqlite3.Connection, sought: Sequence[bytes], *, after: int
) -> list[int]:
    """Return the places behind a place at which an event holds one of some texts."""
    found: list[int] = []
    for text in sought:
        rows = connection.execute(
            "SELECT place FROM events WHERE place > ? AND instr(body, ?)", (after, text)
        )
        found += [place for (place,) in rows]
    return found


def _insert(connection: sqlite3.Connection, rows: Sequence[_Row]) -> range:
    """Insert events, and return their places."""
    last = 0
    for chunk in _cut(rows):
        inserted = connection.execute(
            f"INSERT INTO events (id, subject_id, body, received_at) VALUES {_marks(4, len(chunk))}",  # noqa: S608,E501
            list(chain.from_iterable(chunk)),
        )
        last = inserted.lastrowid or last
    return range(last - len(rows) + 1, last + 1)


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

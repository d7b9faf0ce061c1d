"""Compacted topics in one SQLite file: the engine of one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from qianmian.events.changes import Change
from qianmian.events.sqlite_file import SqliteFile

_VERSION = 1
#: A key keeps its row; a change gives it a new place in the order.
_SCHEMA = """
CREATE TABLE changes (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    UNIQUE (topic, key)
)
"""


class SqliteChanges:
    """`Changes` on SQLite."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, schema=_SCHEMA, version=_VERSION)

    def put(self, topic: str, values: Mapping[str, bytes | None]) -> None:
        if not values:
            return
        with self._file.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO changes (topic, key, value) VALUES (?, ?, ?)",
                [(topic, key, value) for key, value in values.items()],
            )

    def swap(self, topic: str, key: str, *, expected: bytes | None, value: bytes | None) -> bool:
        with self._file.writing() as connection:
            if _value(connection, topic, key) != expected:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO changes (topic, key, value) VALUES (?, ?, ?)",
                (topic, key, value),
            )
        return True

    def value(self, topic: str, key: str) -> bytes | None:
        with self._file.reading() as connection:
            return _value(connection, topic, key)

    def purge(self, topic: str, keys: Sequence[str]) -> int:
        with self._file.writing() as connection:
            removed = sum(
                connection.execute(
                    "DELETE FROM changes WHERE topic = ? AND key = ?", (topic, key)
                ).rowcount
                for key in keys
            )
        self._file.checkpoint()
        return removed

    def drop(self, topic: str, keys: Sequence[str]) -> None:
        if keys:
            with self._file.writing() as connection:
                connection.executemany(
                    "DELETE FROM changes WHERE topic = ? AND key = ?",
                    [(topic, key) for key in keys],
                )

    def since(self, cursor: int, limit: int = 10_000) -> tuple[list[Change], int]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT place, topic, key, value FROM changes WHERE place > ? "
                "ORDER BY place LIMIT ?",
                (cursor, limit),
            ).fetchall()
        changes = [Change(topic, key, value) for _, topic, key, value in rows]
        return changes, rows[-1][0] if rows else cursor

    def get(self, topic: str) -> dict[str, bytes]:
        with self._file.reading() as connection:
            return dict(
                connection.execute(
                    "SELECT key, value FROM changes WHERE topic = ? AND value IS NOT NULL",
                    (topic,),
                ).fetchall()
            )

    def close(self) -> None:
        self._file.close()


def _value(connection: sqlite3.Connection, topic: str, key: str) -> bytes | None:
    row = connection.execute(
        "SELECT value FROM changes WHERE topic = ? AND key = ?", (topic, key)
    ).fetchone()
    return row[0] if row else None

"""Compacted topics in one SQLite file: the engine of one machine."""

from __future__ import annotations

from collections.abc import Mapping
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

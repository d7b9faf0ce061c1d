"""Where flags are kept: a table beside the log, one row an event and reason.

Written by the stream, read by `qianmian events flags`. Training does not read it: it judges the
archive anew with the rules of the day, by the same function.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qianmian.contracts.events import EventType
from qianmian.trust.monitor import Verdict

FLAGS_FILE: Final = "flags.db"

_TABLE = """
CREATE TABLE IF NOT EXISTS flags (
    event_id TEXT NOT NULL, reason TEXT NOT NULL, event_type TEXT NOT NULL,
    subject_id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (event_id, reason)
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS flags_of_subject ON flags (subject_id)"
_NAMES = tuple(EventType)  # contracts.events.EVENT_CODE counts from 1


@dataclass(frozen=True, slots=True)
class KeptFlag:
    """A flag with what a reader wants to know of its event."""

    event_id: str
    reason: str
    event_type: str
    subject_id: str
    at: float


class FlagStore:
    """Flags of one data set, in SQLite."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(_TABLE)
            db.execute(_INDEX)
            rows = db.execute("SELECT DISTINCT event_id FROM flags").fetchall()
        self._flagged = {event_id for (event_id,) in rows}

    def settle(self, verdict: Verdict) -> None:
        """Replace the flags of the events that were judged. There is one writer: the stream."""
        seen = {event.event_id: event for event in verdict.judged}
        stale = self._flagged & seen.keys()
        if not stale and not verdict.flags:
            return
        rows = [
            (flag.event_id, flag.reason, _NAMES[event.kind - 1], event.subject, event.at)
            for flag in verdict.flags
            if (event := seen.get(flag.event_id)) is not None
        ]
        with self._open() as db:
            db.executemany("DELETE FROM flags WHERE event_id = ?", ((name,) for name in stale))
            db.executemany("INSERT OR REPLACE INTO flags VALUES (?, ?, ?, ?, ?)", rows)
        self._flagged -= stale
        self._flagged |= {event_id for event_id, *_ in rows}

    def flagged(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of some events are flagged now."""
        query = (
            "SELECT DISTINCT event_id FROM flags WHERE event_id IN (SELECT value FROM json_each(?))"
        )
        with self._open() as db:
            return {event_id for (event_id,) in db.execute(query, (json.dumps(list(event_ids)),))}

    def counts(self) -> dict[str, int]:
        """Flagged events of each reason."""
        with self._open() as db:
            rows = db.execute("SELECT reason, count(*) FROM flags GROUP BY reason ORDER BY reason")
            return dict(rows.fetchall())

    def total(self) -> int:
        """Events with at least one flag."""
        with self._open() as db:
            return int(db.execute("SELECT count(DISTINCT event_id) FROM flags").fetchone()[0])

    def newest(self, limit: int, reason: str | None = None) -> list[KeptFlag]:
        """The newest flags, of one reason or of all."""
        query = (
            "SELECT event_id, reason, event_type, subject_id, at FROM flags "
            "WHERE ?1 IS NULL OR reason = ?1 ORDER BY at DESC, event_id LIMIT ?2"
        )
        with self._open() as db:
            return [KeptFlag(*row) for row in db.execute(query, (reason, limit))]

    def erase(self, subject_ids: Sequence[str]) -> int:
        """Remove every flag of these subjects; returns how many there were."""
        with self._open() as db:
            db.execute("PRAGMA secure_delete = ON")
            before = db.total_changes
            db.executemany(
                "DELETE FROM flags WHERE subject_id = ?", ((name,) for name in subject_ids)
            )
            return db.total_changes - before

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: writers are few and readers are people."""
        with closing(sqlite3.connect(self._path, timeout=10.0)) as db, db:
            db.execute("PRAGMA synchronous = NORMAL")  # what is lost is judged again
            yield db

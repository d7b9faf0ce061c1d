"""Erasing people from the small SQLite tables beside the event log (flags, showings, ...).

A table is known by its columns: one that says whose a row is. The file is written anew, so that no
page, no free page and no write-ahead log holds what was removed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from qianmian.contracts import columns as c
from qianmian.contracts import decisions as d
from qianmian.erasure.people import People
from qianmian.errors import EventStoreError

#: Columns that say whose a row is.
OWNERS: Final = (d.SUBJECT_ID, "subject", c.USER_ID)
_BUSY_SECONDS: Final = 30.0


def erase_sqlite(path: Path, people: People) -> int:
    """Remove the rows of people from every table of a file; returns how many there were.

    Raises:
        EventStoreError: the file cannot be written now.
    """
    removed = 0
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as db:
            db.execute("PRAGMA secure_delete = ON")
            names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in names:
                columns = {row[1] for row in db.execute(f'PRAGMA table_info("{table}")')}
                for column in columns.intersection(OWNERS):
                    removed += db.executemany(
                        f'DELETE FROM "{table}" WHERE "{column}" = ?',  # noqa: S608
                        [(subject,) for subject in people.subjects],
                    ).rowcount
            db.commit()
            if removed:
                rewrite(db)
    except sqlite3.Error as error:
        raise EventStoreError(f"{path}: {error}; try again") from error
    return removed


def rewrite(db: sqlite3.Connection) -> None:
    """Write the whole file anew and empty its write-ahead log.

    Raises:
        sqlite3.OperationalError: readers or writers were in the way for too long.
    """
    db.execute("VACUUM")
    (blocked, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if blocked:
        raise sqlite3.OperationalError("its write-ahead log is in use")

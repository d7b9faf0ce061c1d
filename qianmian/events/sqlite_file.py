"""One SQLite file that several threads and processes write to without losing anything.

WAL lets readers go on while somebody writes, `synchronous=FULL` brings every commit to the disk
before it returns, the busy timeout lets writers wait for one another, and `secure_delete` leaves no
bytes of what was removed. Each thread has a connection of its own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from qianmian.errors import EventStoreError

BUSY_SECONDS: Final = 10.0
_LAYOUT_SECONDS: Final = 600  # that another process may take to bring the file to its version
_POLL: Final = 0.01
_CHECKPOINT_PAGES: Final = 4_000
_CACHE_KIB: Final = 32_768  # of each connection: keys in no order keep all their pages hot

#: Brings a file to the next version, inside a transaction.
Upgrade = Callable[[sqlite3.Connection], None]
NO_UPGRADES: Final[Mapping[int, Upgrade]] = {}


class _Opened(NamedTuple):
    """A connection, and the lock that its thread holds while it uses it."""

    connection: sqlite3.Connection
    in_use: threading.RLock


class SqliteFile:
    """A database file with a schema of a version."""

    def __init__(
        self,
        path: Path,
        *,
        schema: str,
        version: int,
        upgrades: Mapping[int, Upgrade] = NO_UPGRADES,
        busy: float = BUSY_SECONDS,
    ) -> None:
        """Open the file, made with `schema` where it is missing.

        `upgrades` bring a file of an older version to the next one, in the same transaction.

        Raises:
            EventStoreError: it cannot be opened, or is of another version.
        """
        self.path = path
        self._busy = busy
        self._local = threading.local()
        self._opened: dict[threading.Thread, _Opened] = {}
        self._opening = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error
        with self.reading() as connection:
            if _version(connection) == version:
                return
            connection.execute(f"PRAGMA busy_timeout = {1_000 * _LAYOUT_SECONDS}")
            self._lay_out(schema, version, upgrades)
            connection.execute(f"PRAGMA busy_timeout = {round(1_000 * busy)}")

    def _lay_out(self, schema: str, version: int, upgrades: Mapping[int, Upgrade]) -> None:
        """Bring the file to its version, unless somebody else did while this one waited."""
        with self.writing() as connection:
            found = reached = _version(connection)
            if found == 0:
                run_script(connection, schema)
                reached = version
            while reached < version and reached in upgrades:
                upgrades[reached](connection)
                reached += 1
            if reached != version:
                raise EventStoreError(
                    f"{self.path}: is of version {found}: expected {version}; "
                    "use the qianmian that wrote it, or move the file away"
                )
            if reached != found:
                connection.execute(f"PRAGMA user_version = {version}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file for writing: all that happens inside is committed in one step.

        Raises:
            EventStoreError: it cannot be written now; nothing of the block is kept.
        """
        with self.reading() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    connection.execute("ROLLBACK")
                if connection.in_transaction:  # else it would hold the file for ever
                    self._give_up(connection)
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Use this thread's connection.

        Raises:
            EventStoreError: the file cannot be read now.
        """
        try:
            opened = self._connection()
            with opened.in_use:
                yield opened.connection
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    def checkpoint(self) -> None:
        """Empty the write-ahead log, so that nothing removed is left in it.

        Raises:
            EventStoreError: readers were in the way for longer than the busy timeout.
        """
        with self.reading() as connection:
            (blocked, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if blocked:
            raise EventStoreError(f"{self.path}: the write-ahead log is in use; try again")

    def close(self) -> None:
        """Close the connections of all threads, each once it is not used.

        Closed under a statement of its thread, SQLite would read what is gone.
        """
        with self._opening:
            held = list(self._opened.values())
            self._opened.clear()
            self._local = threading.local()
        for connection, in_use in held:
            with in_use:
                connection.close()

    def _connection(self) -> _Opened:
        opened: _Opened | None = getattr(self._local, "opened", None)
        if opened is None:
            connection = sqlite3.connect(
                self.path, timeout=self._busy, isolation_level=None, check_same_thread=False
            )
            _write_ahead(connection, self._busy)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            opened = _Opened(connection, threading.RLock())
            with self._opening:
                for ended in [thread for thread in self._opened if not thread.is_alive()]:
                    self._opened.pop(ended).connection.close()  # else they would end in EMFILE
                self._opened[threading.current_thread()] = opened
                self._local.opened = opened
        return opened

    def _give_up(self, connection: sqlite3.Connection) -> None:
        """Close this thread's connection, which ends its transaction; it gets another one."""
        with self._opening:
            self._opened.pop(threading.current_thread(), None)
        self._local.opened = None
        connection.close()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _write_ahead(connection: sqlite3.Connection, busy: float) -> None:
    """Let readers go on while somebody writes; SQLite itself waits for nobody who does the same."""
    deadline = monotonic() + busy
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            sleep(_POLL)
        else:
            return


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements inside the transaction that is open (`executescript` would end it)."""
    for statement in script.split(";"):
        connection.execute(statement)


def _unusable(path: Path, error: Exception) -> EventStoreError:
    return EventStoreError(
        f"{path}: {error}; look at free space and rights there, and at who else holds it"
    )

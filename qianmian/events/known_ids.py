"""Which event ids the SQLite log has taken, at a cost that does not grow with the log.

    append -> tail (events not sealed yet) -> seal: one sorted run in `id_runs`

Ids are hashes: in a tree of all of them every new one would dirty a page of its own. So nothing is
kept in order on the way in. The ids of the newest events, the tail, lie with the events and in the
memory of every process that appends; 16 thousand of them become a run, one sorted blob that is
written once and never changed. Of a run a process holds 8 bytes an id, 40 bits of the hash and the
number of the run, in few sorted arrays; what is found there is looked up in the run itself, so the
answer is that of the whole hash. Other processes' events and runs are met in `catch_up`, inside the
transaction that appends.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

ID_BYTES: Final = 16
#: Ids of a tail that is sealed: more would make the append that does so wait longer.
TAIL: Final = 16_384
#: `sealed`: the last place whose id is in a run. A run's `first` and `last` are places, too.
SCHEMA: Final = """
CREATE TABLE id_runs (
    run INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    newest REAL NOT NULL,
    ids BLOB NOT NULL
);
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), sealed INTEGER NOT NULL);
INSERT INTO progress VALUES (1, 0)
"""
_RUN: Final = np.uint64((1 << 24) - 1)  # the bits of an entry that say the run
_HASH: Final = ~_RUN

_Entries = npt.NDArray[np.uint64]


class KnownIds:
    """The ids that one process knows; ask it inside the transaction that appends.

    One of which a method failed lacks ids, and must not be used again.
    """

    def __init__(self) -> None:
        self._tail: dict[bytes, int] = {}  # with their places
        self._seen = 0  # the last place whose id is here
        self._sealed = 0
        self._oldest = 0
        self._newest = 0
        self._runs: set[int] = set()
        self._levels: list[_Entries] = []  # each more than twice as long as the next

    def catch_up(self, connection: sqlite3.Connection) -> None:
        """Learn what others have appended, sealed and forgotten since.

        Outside of a transaction it may miss what others do meanwhile; the next call learns of that.
        """
        sealed, oldest, newest, last = connection.execute(
            "SELECT sealed, (SELECT min(run) FROM id_runs), (SELECT max(run) FROM id_runs),"
            " (SELECT max(place) FROM events) FROM progress"
        ).fetchone()
        if (oldest or 0, newest or 0) != (self._oldest, self._newest):
            self._forget(connection)
            self._load(connection)
            self._oldest, self._newest = oldest or 0, newest or 0
        if sealed > self._sealed:
            self._tail = {id_: place for id_, place in self._tail.items() if place > sealed}
            self._sealed = sealed
            self._seen = max(self._seen, sealed)
        if last is not None and last > self._seen:
            behind = _behind(connection, self._seen, last)
            if behind.places:  # else they were sealed and trimmed at this moment
                self.add(_parts(behind.ids), behind.places)

    def among(self, connection: sqlite3.Connection, ids: Sequence[bytes]) -> set[bytes]:
        """Return which of some ids are known."""
        known = {id_ for id_ in ids if id_ in self._tail}
        if self._levels:
            suspects = self._suspects(ids)
            for run, some in suspects.items():
                known.update(_in_run(connection, run, some))
        return known

    def add(self, ids: Sequence[bytes], places: Sequence[int]) -> None:
        """Add ids of events that were appended, with their places in order."""
        self._tail.update(zip(ids, places, strict=True))
        self._seen = places[-1]

    def seal_if_long(self, connection: sqlite3.Connection) -> None:
        """Make a run of the tail once it is long."""
        if len(self._tail) >= TAIL:
            seal(connection, self._seen)
            self.catch_up(connection)

    def _suspects(self, ids: Sequence[bytes]) -> dict[int, list[bytes]]:
        """Return the ids that a run may hold, by run: 40 bits of their hash are in it."""
        wanted = _hashes(b"".join(ids))
        order = np.argsort(wanted)  # neighbours are looked for near one another
        wanted = wanted[order]
        suspects: dict[int, list[bytes]] = defaultdict(list)
        for level in self._levels:
            places = level.searchsorted(wanted)
            met = level[np.minimum(places, len(level) - 1)] & _HASH == wanted
            for n in np.flatnonzero(met):
                for entry in level[places[n] :]:
                    if entry & _HASH != wanted[n]:
                        break
                    suspects[int(entry & _RUN)].append(ids[order[n]])
        return suspects

    def _load(self, connection: sqlite3.Connection) -> None:
        runs = connection.execute(
            "SELECT run, ids FROM id_runs WHERE run > ? ORDER BY run", (max(self._runs, default=0),)
        )
        new: list[_Entries] = []
        for run, ids in runs:
            new.append(_hashes(ids) | np.uint64(run))
            self._runs.add(run)
        if not new:
            return
        self._levels.append(np.sort(np.concatenate(new)))
        while len(self._levels) > 1 and len(self._levels[-2]) <= 2 * len(self._levels[-1]):
            two = np.concatenate([self._levels.pop(), self._levels.pop()])
            two.sort(kind="stable")  # finds that they are two sorted ones, and merges them
            self._levels.append(two)

    def _forget(self, connection: sqlite3.Connection) -> None:
        """Drop runs that are gone: not always the oldest, for clocks are set back."""
        gone = self._runs.difference(
            run for (run,) in connection.execute("SELECT run FROM id_runs")
        )
        if gone:
            runs = np.array(sorted(gone), dtype=np.uint64)
            kept = [level[~np.isin(level & _RUN, runs)] for level in self._levels]
            self._levels = [level for level in kept if len(level)]
            self._runs -= gone


def seal(connection: sqlite3.Connection, upto: int) -> None:
    """Make a run of the ids of events that are in none yet, up to a place.

    Before an event goes its id must be in a run: it is what remains of it.
    """
    (sealed,) = connection.execute("SELECT sealed FROM progress").fetchone()
    if upto <= sealed:
        return
    behind = _behind(connection, sealed, upto)
    if behind.ids:
        add_run(connection, behind.ids, first=sealed + 1, last=upto, newest=behind.newest)
    connection.execute("UPDATE progress SET sealed = ?", (upto,))


def add_run(
    connection: sqlite3.Connection, ids: bytes, *, first: int, last: int, newest: float
) -> None:
    """Write a run: ids one behind the other, of places `first` to `last`, received by `newest`."""
    connection.execute(
        "INSERT INTO id_runs (first, last, newest, ids) VALUES (?, ?, ?, ?)",
        (first, last, newest, np.sort(_strings(ids)).tobytes()),
    )


def forget(connection: sqlite3.Connection, received_before: float) -> int:
    """Drop the runs of which all was received before a moment and nothing is stored."""
    dropped = connection.execute(
        "DELETE FROM id_runs WHERE newest < ? AND NOT EXISTS ("
        " SELECT 1 FROM events WHERE place BETWEEN id_runs.first AND id_runs.last)"
        " RETURNING length(ids)",
        (received_before,),
    ).fetchall()
    return sum(int(size) for (size,) in dropped) // ID_BYTES


class _Behind(NamedTuple):
    """Events behind a place: their ids one behind the other, and when the newest was received."""

    ids: bytes
    places: list[int]
    newest: float


def _behind(connection: sqlite3.Connection, after: int, upto: int) -> _Behind:
    """Read them as one row: for each row Python's driver waits for the interpreter lock anew."""
    ids, places, newest = connection.execute(
        "SELECT group_concat(hex(id), ''), group_concat(place), max(received_at) FROM"
        " (SELECT id, place, received_at FROM events"
        " WHERE place > ? AND place <= ? ORDER BY place)",
        (after, upto),
    ).fetchone()
    if ids is None:
        return _Behind(b"", [], 0.0)
    return _Behind(bytes.fromhex(ids), list(map(int, places.split(","))), newest)


def _in_run(connection: sqlite3.Connection, run: int, ids: Sequence[bytes]) -> Iterator[bytes]:
    row = connection.execute("SELECT ids FROM id_runs WHERE run = ?", (run,)).fetchone()
    if row is None:  # forgotten since
        return
    held = _strings(row[0])
    wanted = _strings(b"".join(ids))
    places = np.minimum(held.searchsorted(wanted), len(held) - 1)
    for id_, found in zip(ids, held[places] == wanted, strict=True):
        if found:
            yield id_


def _parts(ids: bytes) -> list[bytes]:
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


def _hashes(ids: bytes) -> _Entries:
    """Return the 40 leading bits of each id, at the place that they have in an entry."""
    return np.frombuffer(ids, ">u8")[::2].astype(np.uint64) & _HASH


def _strings(ids: bytes) -> npt.NDArray[Any]:
    return np.frombuffer(ids, f"S{ID_BYTES}")

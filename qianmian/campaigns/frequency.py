"""How often a shopper was shown each campaign: what frequency caps look at, across replicas.

What a replica shows counts at once in its own memory and is written to the store at the next
refresh, so another replica knows of it within about a second. A showing has an id from the start,
so one that is written twice, for the first answer was lost, counts once. Showings older than the
longest cap are dropped.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from qianmian.breaker import Breaker
from qianmian.errors import EventStoreError
from qianmian.events.sqlite_file import SqliteFile, Upgrade, run_script

_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS showings (
    subject TEXT NOT NULL, campaign TEXT NOT NULL, at REAL, id TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS showings_by_subject ON showings (subject, id);
CREATE INDEX IF NOT EXISTS showings_by_time ON showings (at)
"""
_UPGRADE: Final = """
ALTER TABLE showings ADD COLUMN id TEXT;
UPDATE showings SET id = rowid;
DROP INDEX showings_by_subject;
CREATE UNIQUE INDEX showings_by_subject ON showings (subject, id)
"""
#: From 1: showings had no ids.
_UPGRADES: Final[Mapping[int, Upgrade]] = {1: lambda db: run_script(db, _UPGRADE)}
#: No cap looks further back.
LONGEST_SECONDS: Final = 90 * 86_400.0
#: What was read of a subject is good for so many seconds, enough for the page it was read for.
KEPT_SECONDS: Final = 0.25
#: Seconds for which a store that failed or was too slow is not read.
PAUSE_SECONDS: Final = 1.0
_SUBJECTS: Final = 10_000


class Showing(NamedTuple):
    """A campaign was shown to a subject; the id is this showing's alone."""

    subject: str
    campaign: str
    at: float
    id: str


class _Read(NamedTuple):
    """What the store said of a subject, and until when that is good."""

    until: float
    found: Sequence[Showing]


class FrequencyStore(Protocol):
    """Showings by subject, durable and shared."""

    def add(self, showings: Sequence[Showing]) -> None:
        """Remember showings; those that it has already stay as they are."""

    def of(self, subject: str) -> list[Showing]:
        """Return the showings to a subject."""

    def forget(self, subjects: Sequence[str]) -> int:
        """Drop all showings to some subjects; returns how many there were."""

    def trim(self, before: float) -> None:
        """Drop what is older."""

    def shut(self) -> None:
        """Let go of the connection."""


class SqliteFrequency:
    """`FrequencyStore` in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, schema=_SCHEMA, version=_VERSION, upgrades=_UPGRADES)

    def add(self, showings: Sequence[Showing]) -> None:
        if showings:
            with self._file.writing() as db:
                db.executemany("INSERT OR IGNORE INTO showings VALUES (?, ?, ?, ?)", showings)

    def of(self, subject: str) -> list[Showing]:
        with self._file.reading() as db:
            rows = db.execute("SELECT * FROM showings WHERE subject = ?", (subject,)).fetchall()
        return [Showing(*row) for row in rows]

    def forget(self, subjects: Sequence[str]) -> int:
        with self._file.writing() as db:
            gone = db.executemany(
                "DELETE FROM showings WHERE subject = ?", [(subject,) for subject in subjects]
            ).rowcount
        self._file.checkpoint()
        return gone

    def trim(self, before: float) -> None:
        with self._file.writing() as db:
            db.execute("DELETE FROM showings WHERE at < ?", (before,))

    def shut(self) -> None:
        self._file.close()


class RedisFrequency:
    """`FrequencyStore` in Redis: a sorted set for each subject, gone with its last showing."""

    def __init__(self, link: Any, reading: Any) -> None:
        """Both are a `qianmian.events.redis_link.RedisLink`, `reading` one that soon times out."""
        self._link = link
        self._reading = reading

    def add(self, showings: Sequence[Showing]) -> None:
        with self._link.using() as client:
            pipe = client.pipeline(transaction=False)
            for showing in showings:
                key = self._key(showing.subject)
                member = json.dumps([showing.campaign, showing.at, showing.id])
                pipe.zadd(key, {member: showing.at})
                pipe.zremrangebyscore(key, "-inf", showing.at - LONGEST_SECONDS)
                pipe.expire(key, round(LONGEST_SECONDS))
            pipe.execute()

    def of(self, subject: str) -> list[Showing]:
        with self._reading.using() as client:
            members = client.zrange(self._key(subject), 0, -1)
        read = (json.loads(member) for member in members)
        return [Showing(subject, campaign, at, one) for campaign, at, one in read]

    def forget(self, subjects: Sequence[str]) -> int:
        with self._link.using() as client:
            gone = sum(client.zcard(self._key(subject)) for subject in subjects)
            if subjects:
                client.delete(*map(self._key, subjects))
        return int(gone)

    def trim(self, before: float) -> None:
        """Leave it to Redis: a set ends by itself, and loses what is old when it grows."""
        del before

    def shut(self) -> None:
        self._link.close()
        self._reading.close()

    def _key(self, subject: str) -> str:
        return str(self._link.key(f"showings:{subject}"))


class FrequencyMemory:
    """The store with what this replica has shown since it last wrote; safe for several threads.

    What was read of a subject is remembered for a moment. So whoever must not wait for the store
    has it read by another thread (`read`), and counts then; whoever has waited too long gives the
    store up. While it is out, `read` alone asks it again.
    """

    def __init__(
        self,
        store: FrequencyStore,
        *,
        kept_seconds: float = KEPT_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """What was read is good for `kept_seconds`; a store that is out rests `pause_seconds`."""
        self._store = store
        self._kept = kept_seconds
        self._clock = clock
        self._breaker = Breaker(pause=pause_seconds, clock=clock)
        self._lock = threading.Lock()
        self._fresh: dict[str, list[Showing]] = defaultdict(list)
        self._read: OrderedDict[str, _Read] = OrderedDict()
        self._under_way: dict[str, set[object]] = defaultdict(set)  # subject -> who reads it now

    def knows(self, subject: str) -> bool:
        """Return whether there is nothing to read of a subject now, or no store to read from."""
        read = self._read.get(subject)
        return (read is not None and self._clock() < read.until) or self._breaker.resting

    def read(self, subject: str) -> None:
        """Read a subject's showings; where the store does not answer, counting will say so."""
        done = False
        while not done:  # not if it was written or forgotten meanwhile, perhaps after it was read
            done = self._keep(subject)

    def give_up(self) -> None:
        """Take it that the store does not answer: somebody waited for it as long as they could."""
        self._breaker.trip("the showings were not read in time")

    def _keep(self, subject: str) -> bool:
        """Read a subject's showings and keep them; returns whether they may be kept, if any."""
        reader = object()
        with self._lock:
            self._under_way[subject].add(reader)
        found: Sequence[Showing] | None = None
        with suppress(EventStoreError), self._breaker.asking():
            found = self._store.of(subject)
        with self._lock:
            readers = self._under_way.get(subject, set())
            good = reader in readers
            readers.discard(reader)
            if not readers:
                self._under_way.pop(subject, None)
            if found is None or not good:
                return found is None
            # Good from now on: whoever waited for a slow answer must not have to ask again.
            self._read[subject] = _Read(self._clock() + self._kept, found)
            self._read.move_to_end(subject)
            while len(self._read) > _SUBJECTS:
                self._read.popitem(last=False)
        return True

    def count(self, subject: str, now: float, spans: Mapping[str, float]) -> dict[str, int]:
        """Return how often each campaign was shown within its span of seconds before now.

        Raises:
            EventStoreError: the store does not answer.
        """
        with self._lock:  # before the store, so that none is missed that is written meanwhile
            fresh = list(self._fresh.get(subject, ()))
            read = self._read.get(subject)
        if read is not None and self._clock() < read.until:
            stored = read.found
        elif self._breaker.why is not None:
            raise EventStoreError(self._breaker.why)
        else:
            with self._breaker.asking():
                stored = self._store.of(subject)
        counts = dict.fromkeys(spans, 0)
        for showing in {*fresh, *stored}:  # what is fresh may have been stored all the same
            if showing.campaign in spans and now - showing.at < spans[showing.campaign]:
                counts[showing.campaign] += 1
        return counts

    def show(self, showings: Iterable[Showing]) -> None:
        """Count showings from now on."""
        with self._lock:
            for showing in showings:
                self._fresh[showing.subject].append(showing)

    def forget(self, subjects: Iterable[str]) -> None:
        """Drop what was read of some subjects."""
        with self._lock:
            for subject in subjects:
                self._drop(subject)

    def write(self) -> None:
        """Write what is fresh to the store.

        Raises:
            EventStoreError: the store does not answer; what is fresh stays counted here.
        """
        with self._lock:
            fresh = [showing for showings in self._fresh.values() for showing in showings]
        if not fresh:
            return
        self._store.add(fresh)
        with self._lock:
            for showing in fresh:
                self._drop(showing.subject)
                left = self._fresh[showing.subject]
                left.remove(showing)
                if not left:
                    del self._fresh[showing.subject]

    def _drop(self, subject: str) -> None:
        """Have what was read of a subject, or is being read now, not used any more."""
        self._read.pop(subject, None)
        self._under_way.pop(subject, None)

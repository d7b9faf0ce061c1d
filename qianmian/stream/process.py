"""The stream: reads the event log, hands events to its parts, commits what they have done.

    read from the checkpoint -> every part takes the events -> every part does its work -> commit

One for each data set; a file lock sees to it. Back-pressure is in the rhythm: while the parts work,
events gather in the log, the next reading takes more of them, and a subject with ten of them is
computed once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from qianmian.errors import EventStoreError, OnlineStoreError
from qianmian.events.follower import before
from qianmian.events.store import BEGINNING, EventStore
from qianmian.stream.part import Finisher, Part
from qianmian.stream.settings import StreamSettings

log = logging.getLogger(__name__)

#: Whose checkpoint it is.
GROUP: Final = "stream"
LOCK_FILE: Final = "stream.lock"
_PAGE: Final = 10_000
#: Times `read_events` that are read at once, at most.
_MOST: Final = 16
#: Seconds until a step that the engine or the online store refused is tried again; it doubles.
_PATIENCE: Final = (0.2, 5.0)
#: What passes by itself: another writer, a full disk, a server that starts again.
PASSING: Final = (EventStoreError, OnlineStoreError, sqlite3.OperationalError, ConnectionError)


class Stream:
    """The loop around the parts."""

    def __init__(
        self,
        events: EventStore,
        parts: Sequence[Part],
        *,
        now: Callable[[], float],
        settings: StreamSettings | None = None,
    ) -> None:
        """`now` is the service's clock."""
        self._log = events
        self._parts = parts
        self._now = now
        self._settings = settings or StreamSettings()
        self._limit = self._settings.read_events
        self._cursor = BEGINNING
        self._taken = 0  # and not committed yet
        self.events = 0  # committed since the start
        self.steps = 0
        self.seconds = 0.0  # spent in steps with events
        self.received_at = 0.0  # of the last event committed
        self._last_received = 0.0

    def restore(self) -> None:
        """Give the parts what lies in the log before the checkpoint, and is not archived yet."""
        self._cursor = self._log.committed(GROUP)
        if self._cursor == BEGINNING:
            self._log.commit(GROUP, BEGINNING)  # from now on nothing is archived before we read it
            return
        after = BEGINNING
        while True:
            page, after = self._log.read(after, _PAGE)
            done = before(self._log, page, self._cursor)
            for part in self._parts:
                part.restore(done)
            if not page or len(done) < len(page):
                return

    def step(self) -> int:
        """Read, work and commit once; returns how many events that were.

        Raises one of `PASSING` when something cannot be read or written now: call it again.
        """
        began = monotonic()
        if not self._taken:
            events, cursor = self._log.read(self._cursor, self._limit)
            self._adapt(len(events))
            if events:
                for part in self._parts:
                    part.take(events)
                self._taken, self._cursor = len(events), cursor
                self._last_received = max(event.received_at for event in events)
        now = self._now()
        for part in self._parts:
            part.flush(now)
        taken = self._taken
        if taken:
            self._log.commit(GROUP, self._cursor)
            self._taken = 0
            self.events += taken
            self.steps += 1
            self.seconds += monotonic() - began
            self.received_at = self._last_received
        return taken

    def finish(self) -> None:
        """Have the parts do what they put off."""
        now = self._now()
        for part in self._parts:
            if isinstance(part, Finisher):
                part.finish(now)

    def _adapt(self, read: int) -> None:
        """Read more at once the longer the log is ahead: a subject is then computed less often."""
        least = self._settings.read_events
        self._limit = min(2 * self._limit, _MOST * least) if read == self._limit else least

    def lag(self) -> tuple[int, float]:
        """Return how many events are not worked in yet, and the age of the oldest in seconds."""
        behind = self._log.lag(GROUP)
        if not behind:
            return 0, 0.0
        events, _ = self._log.read(self._log.committed(GROUP), 1)
        age = self._now() - events[0].received_at if events else 0.0
        return behind, max(age, 0.0)

    def run(self, stopping: threading.Event, tell: Callable[[], None] = lambda: None) -> None:
        """Step until stopped; `tell` is called after each round, for a status."""
        wait, longest = _PATIENCE
        while not stopping.is_set():
            try:
                worked = self.step()
                tell()
            except PASSING as error:
                log.warning("cannot go on now, trying again in %.1f s: %s", wait, error)
                stopping.wait(wait)
                wait = min(2 * wait, longest)
                continue
            wait = _PATIENCE[0]
            if not worked:
                stopping.wait(self._settings.poll_seconds)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a data set's stream; the operating system gives it back when we die.

    Raises:
        EventStoreError: another stream of this data set is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise EventStoreError(
                f"{folder / LOCK_FILE}: another stream of this data set is running "
                f"(process {holder or 'unknown'}): stop it first, or leave the work to it"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def is_running(folder: Path) -> bool:
    """Return whether a stream holds the lock of a data set."""
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False

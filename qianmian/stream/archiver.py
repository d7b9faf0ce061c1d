"""The part of the stream that archives: closed windows of the log become Parquet, then leave it.

    read what was received before the window closed -> archive it, one rename -> trim the log
    ids beyond the horizon within which events are accepted -> forgotten

A window is a span of receiving times (an hour), closed a little after its end, when nobody writes
into it any more. A process that dies between archiving and trimming leaves events in both; the next
run meets them at the log's beginning, and drops there what the archive holds (`settle`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import takewhile
from math import inf
from time import monotonic
from typing import Final

from qianmian.campaigns import billing
from qianmian.data.archive import Archive
from qianmian.data.archive_writer import writing
from qianmian.errors import DataError, EventStoreError
from qianmian.events.event import StoredEvent
from qianmian.events.rows import MICROSECONDS, contract_rows, microseconds
from qianmian.events.store import BEGINNING, EventStore
from qianmian.stream import process
from qianmian.stream.settings import ArchiveSettings

log = logging.getLogger(__name__)

#: Whose checkpoint it is: how far the archive has come, for those who look at lags.
ARCHIVE_GROUP: Final = "archive"
#: Whose work an event cannot do without; the groups that ever ran.
_MUST_READ: Final = {process.GROUP, billing.GROUP}


def settle(log: EventStore, archive: Archive, *, at_once: int) -> None:
    """Drop from the log the first events that the archive holds, reading `at_once` of them at once.

    Only a process that died leaves some, and then cursor and checkpoint differ. The ids say what
    they are: the cursor may be of another log, or of this one before a backup of it was restored.
    Call it inside `archive_writer.writing`.
    """
    while archive.manifest().cursor != log.committed(ARCHIVE_GROUP):
        page, end = log.read(BEGINNING, at_once)
        known = _archived(archive, page)
        if not known:
            return
        if len(known) < len(page):  # the cursor behind the last of them
            _, end = log.read(BEGINNING, len(known))
        _leave(log, end)


def _archived(archive: Archive, page: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Return the events at the beginning of a page that the archive holds."""
    first = min((microseconds(event.received_at) for event in page), default=0)
    held = archive.ids(received_since=first / MICROSECONDS) if page else set()
    return list(takewhile(lambda event: event.event_id in held, page))


def _leave(log: EventStore, cursor: str) -> None:
    """Drop from the log what the archive holds, and say how far that is."""
    log.trim(cursor)
    log.commit(ARCHIVE_GROUP, cursor)


class Archiver:
    """Moves events from the log to the archive."""

    def __init__(
        self,
        events: EventStore,
        archive: Archive,
        settings: ArchiveSettings,
        *,
        remember_seconds: float = inf,
        owners: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`remember_seconds`: age from which the log need not know the id of an archived event.

        `owners` gives the merged subjects with those as whom they count.
        """
        self._log = events
        self._remember_seconds = remember_seconds
        self._archive = archive
        self._settings = settings
        self._owners = owners

    def archive_closed(self, now: float) -> int:
        """Archive what was received in windows that are closed at `now`; returns how many events.

        An event from a future far beyond any clock's error counts as closed: the service's clock
        was set back since.
        """
        window = self._settings.window_minutes * 60.0
        end = (now - self._settings.close_after_seconds) // window * window
        ahead = now + window
        readers = set(self._log.groups()) - {ARCHIVE_GROUP}
        return self._archive_while(
            lambda event: event.received_at < end or event.received_at > ahead, readers
        )

    def forget_ids(self, now: float) -> int:
        """Have the log forget ids that no accepted event can come with again; returns how many."""
        return self._log.forget_ids(now - self._remember_seconds)

    def archive_all(self) -> int:
        """Archive all that the stream has worked in and charged; returns how many events.

        Races are not waited for: by a clock that stands still they never count.
        """
        return self._archive_while(lambda _: True, _MUST_READ & set(self._log.groups()))

    def _archive_while(
        self, closed: Callable[[StoredEvent], bool], readers: Collection[str]
    ) -> int:
        total = 0
        while moved := self._archive_some(closed, readers):
            total += moved
        if total:
            with writing(self._archive) as writer:
                writer.compact(self._settings.parts_a_day)
        return total

    def _archive_some(self, closed: Callable[[StoredEvent], bool], readers: Collection[str]) -> int:
        """Archive one part's worth, out of the reach of other writers and of an erasure."""
        with writing(self._archive) as writer:
            settle(self._log, self._archive, at_once=self._settings.events_at_once)
            page, end = self._log.read(BEGINNING, self._settings.events_at_once)
            if not page or not closed(page[0]):
                return 0
            waiting = self._unread(readers)
            ready = takewhile(lambda event: event.event_id not in waiting and closed(event), page)
            batch = list(ready)
            if not batch:
                return 0
            if len(batch) < len(page):  # the cursor behind the last of them
                batch, end = self._log.read(BEGINNING, len(batch))
            writer.append(contract_rows(batch), end, self._owners())
            _leave(self._log, end)
            return len(batch)

    def _unread(self, readers: Collection[str]) -> set[str]:
        """Ids of the next events that one of these groups has yet to read.

        As many as a part has: the first of them that is met ends what is archived.
        """
        pages = (
            self._log.read(checkpoint, self._settings.events_at_once)
            for checkpoint in {self._log.committed(group) for group in readers}
        )
        return {event.event_id for page, _ in pages for event in page}


class ArchivePart:
    """Archives now and then, on a thread of its own (`stream.part.Part`)."""

    def __init__(self, archiver: Archiver, settings: ArchiveSettings) -> None:
        self._archiver = archiver
        self._every = settings.look_seconds
        self._next = 0.0
        self._thread: threading.Thread | None = None
        self.archived = 0  # since the start

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: the archive knows how far it has come."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: the archive reads the log itself."""

    def flush(self, now: float) -> None:
        if monotonic() < self._next or (self._thread is not None and self._thread.is_alive()):
            return
        self._next = monotonic() + self._every
        self._thread = threading.Thread(target=self._work, args=(now,), name="archiver")
        self._thread.start()

    def close(self) -> None:
        """Wait for the end of what is under way."""
        if self._thread is not None:
            self._thread.join()

    def _work(self, now: float) -> None:
        try:
            self.archived += self._archiver.archive_closed(now)
            self._archiver.forget_ids(now)
        except (EventStoreError, DataError, OSError) as error:
            log.warning("could not archive, trying again: %s", error)

"""The part of the stream that archives: closed windows of the log become Parquet, then leave it.

    read what was received before the window closed -> archive it, one rename -> trim the log
    ids beyond the horizon within which events are accepted -> forgotten

A window is a span of receiving times (an hour), closed a little after its end, when nobody writes
into it any more. The archive's manifest holds the cursor, so a process that dies at any step leaves
each event in the log or in the archive, and in the archive once; the next run goes on from there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from math import inf
from time import monotonic

from qianmian.data.archive import Archive
from qianmian.data.archive_writer import writing
from qianmian.errors import DataError, EventStoreError
from qianmian.events.event import StoredEvent
from qianmian.events.rows import contract_rows
from qianmian.events.store import BEGINNING, EventStore
from qianmian.stream.process import GROUP
from qianmian.stream.settings import ArchiveSettings

log = logging.getLogger(__name__)

#: Whose checkpoint it is: how far the archive has come, for those who look at lags.
ARCHIVE_GROUP = "archive"


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
        return self._archive_while(
            lambda event: event.received_at < end or event.received_at > ahead
        )

    def forget_ids(self, now: float) -> int:
        """Have the log forget ids that no accepted event can come with again; returns how many."""
        return self._log.forget_ids(now - self._remember_seconds)

    def archive_all(self) -> int:
        """Archive all that the stream has worked in; returns how many events."""
        return self._archive_while(lambda _: True)

    def _archive_while(self, closed: Callable[[StoredEvent], bool]) -> int:
        total = 0
        while moved := self._archive_some(closed):
            total += moved
        if total:
            with writing(self._archive) as writer:
                writer.compact(self._settings.parts_a_day)
        return total

    def _archive_some(self, closed: Callable[[StoredEvent], bool]) -> int:
        """Archive one part's worth, out of the reach of other writers and of an erasure."""
        with writing(self._archive) as writer:
            cursor = writer.manifest.cursor or BEGINNING
            self._leave(cursor)  # what a process that died had archived, but left in the log
            page, end = self._log.read(cursor, self._settings.events_at_once)
            if not page or not closed(page[0]):
                return 0
            waiting = self._not_worked_in()
            ready = takewhile(lambda event: event.event_id not in waiting and closed(event), page)
            batch = list(ready)
            if not batch:
                return 0
            if len(batch) < len(page):  # the cursor behind the last of them
                batch, end = self._log.read(cursor, len(batch))
            writer.append(contract_rows(batch), end, self._owners())
            self._leave(end)
            return len(batch)

    def _leave(self, cursor: str) -> None:
        """Drop from the log what the archive holds, and say how far that is."""
        if cursor != BEGINNING and cursor != self._log.committed(ARCHIVE_GROUP):
            self._log.trim(cursor)
            self._log.commit(ARCHIVE_GROUP, cursor)

    def _not_worked_in(self) -> set[str]:
        """Ids of the next events that the stream has yet to read; none where no stream ever ran.

        As many as a part has: the first of them that is met ends what is archived.
        """
        if GROUP not in self._log.groups():
            return set()
        page, _ = self._log.read(self._log.committed(GROUP), self._settings.events_at_once)
        return {event.event_id for event in page}


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

"""Read the log from a cursor of one's own, no further than another group has come.

What that group has not committed is left for later: billing does not charge what nobody judged yet.

The cursor names its log, too: whoever keeps it beside what it has counted may meet another log in
the place of that one, and goes on where its group had come in it, at the beginning of a new one. A
log that was copied has the same name: an older copy must be put back together with the counts.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Final

from qianmian.events.event import StoredEvent
from qianmian.events.store import BEGINNING, EventStore

_SEPARATOR: Final = ":"


class Follower:
    """One group's way along the log, behind another group or on its own."""

    def __init__(self, log: EventStore, group: str, *, behind: str | None, page: int) -> None:
        """`behind` names the group that goes ahead; None reads to the end of the log."""
        self._log = log
        self._group = group
        self._ahead = behind
        self._page = page
        self._name = ""  # of the log in which this group is known

    def read(self, after: str) -> tuple[list[StoredEvent], str]:
        """Return the next page behind a cursor, and the cursor behind that page.

        Without events the cursor given is returned.

        Raises:
            EventStoreError: the log does not answer.
        """
        name = self._log.name()
        start = self._start(name, after)
        if name != self._name:  # from now on nothing is archived before we read it
            self._log.commit(self._group, start)
            self._name = name
        events, end = self._behind(start)
        return (events, f"{name}{_SEPARATOR}{end}") if events else (events, after)

    def commit(self, cursor: str) -> None:
        """Tell the log how far this group has come."""
        self._log.commit(self._group, cursor.rpartition(_SEPARATOR)[2])

    def _start(self, name: str, after: str) -> str:
        """Return the log's own cursor of a cursor."""
        of, _, start = after.rpartition(_SEPARATOR)
        if of == name or after == BEGINNING:
            return start
        if not of and self._group in self._log.groups():  # cursors did not always name their log
            return start
        return self._log.committed(self._group)

    def _behind(self, after: str) -> tuple[list[StoredEvent], str]:
        if self._ahead is None:
            return self._log.read(after, self._page)
        checkpoint = self._log.committed(self._ahead)
        if after == checkpoint:
            return [], after
        page, cursor = self._log.read(after, self._page)
        done = before(self._log, page, checkpoint)
        if len(done) == len(page):
            return page, cursor
        return done, checkpoint if done else after


def before(log: EventStore, page: list[StoredEvent], checkpoint: str) -> list[StoredEvent]:
    """Return the events of a page that lie before a checkpoint, the page read before this.

    Cursors cannot be compared, but the first event behind the checkpoint can be met.
    """
    first, _ = log.read(checkpoint, 1)
    ids = {event.event_id for event in first}
    return list(takewhile(lambda event: event.event_id not in ids, page))

"""Read the log from a place of one's own, no further than another group has come.

What that group has not committed is left for later: billing does not charge what nobody judged yet.

A place is opaque text like a cursor, and names its log, too: whoever keeps it beside what it has
counted so far may meet another log after a move, and begins that one where it begins.
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
        self._behind = behind
        self._page = page
        self._name: str | None = None  # of the log, once this group is known to it

    def read(self, after: str) -> tuple[list[StoredEvent], str]:
        """Return the next page behind a place, and the place behind that page.

        `BEGINNING` stands before the first event, and so does a place in another log. Without
        events the place given is returned.

        Raises:
            EventStoreError: the log does not answer.
        """
        name, start = self._begin(after)
        events, cursor = self._after(start)
        return (events, f"{name}{_SEPARATOR}{cursor}") if events else (events, after)

    def commit(self, place: str) -> None:
        """Tell the log how far this group has come, so that what it has not read stays."""
        self._log.commit(self._group, place.rpartition(_SEPARATOR)[2])

    def _begin(self, after: str) -> tuple[str, str]:
        """Return the log's name and the cursor of a place in it."""
        first, name = self._name is None, self._name or self._log.name()
        of, _, cursor = after.rpartition(_SEPARATOR)
        if of not in (name, ""):  # places did not always name their log
            cursor = BEGINNING
        if first:  # from now on nothing is archived before we read it
            self._log.commit(self._group, cursor)
            self._name = name
        return name, cursor

    def _after(self, after: str) -> tuple[list[StoredEvent], str]:
        if self._behind is None:
            return self._log.read(after, self._page)
        checkpoint = self._log.committed(self._behind)
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

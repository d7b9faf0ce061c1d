"""Read the log from a cursor of one's own, no further than another group has come.

What that group has not committed is left for later: billing does not charge what nobody judged yet.
"""

from __future__ import annotations

from itertools import takewhile

from qianmian.events.event import StoredEvent
from qianmian.events.store import EventStore


class Follower:
    """One group's way along the log, behind another group or on its own."""

    def __init__(self, log: EventStore, group: str, *, behind: str | None, page: int) -> None:
        """`behind` names the group that goes ahead; None reads to the end of the log."""
        self._log = log
        self._group = group
        self._behind = behind
        self._page = page
        self._known = False

    def read(self, after: str) -> tuple[list[StoredEvent], str]:
        """Return the next page behind a cursor, and the cursor behind that page.

        Raises:
            EventStoreError: the log does not answer.
        """
        if not self._known:  # from now on nothing is archived before we read it
            self.commit(after)
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

    def commit(self, cursor: str) -> None:
        """Remember how far this group has come."""
        self._log.commit(self._group, cursor)
        self._known = True


def before(log: EventStore, page: list[StoredEvent], checkpoint: str) -> list[StoredEvent]:
    """Return the events of a page that lie before a checkpoint, the page read before this.

    Cursors cannot be compared, but the first event behind the checkpoint can be met.
    """
    first, _ = log.read(checkpoint, 1)
    ids = {event.event_id for event in first}
    return list(takewhile(lambda event: event.event_id not in ids, page))

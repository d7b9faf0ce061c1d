"""The event log behind one protocol: what the door appends to and every consumer reads.

Delivery is at least once: a consumer reads on from its checkpoint, does its work, and then commits.
What it does must give the same when done twice; the log itself holds each event once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qianmian.events.event import StoredEvent

#: The cursor before the first event.
BEGINNING = ""


class EventStore(Protocol):
    """An append-only log of events, each of them once.

    Safe for several threads and several processes. Every method raises `EventStoreError` when the
    engine behind it cannot do its work now (disk full, locked, not reachable); nothing is half
    done then.
    """

    def append(self, events: Sequence[StoredEvent]) -> list[bool]:
        """Store events; they are on the disk when this returns, all of them or none.

        Returns for each whether it is new: False where its `event_id` was appended before, by
        whomever and whenever, or stands earlier in `events`.
        """

    def read(self, after: str, limit: int) -> tuple[list[StoredEvent], str]:
        """Return up to `limit` events behind a cursor, in the log's order, and the next cursor.

        The cursor is opaque text; `BEGINNING` stands before the first event. Without events the
        cursor given is returned.
        """

    def newest(self, limit: int) -> tuple[list[StoredEvent], str]:
        """Return the last `limit` events in the log's order, and the cursor behind them."""

    def name(self) -> str:
        """Return what tells this log from every other but its copies, drawn when it was made.

        Cursors of two logs look alike: `qianmian.events.follower` keeps the name with them.
        """

    def size(self) -> int:
        """Return how many events are stored."""

    def committed(self, group: str) -> str:
        """Return the cursor that a group of consumers committed last, else `BEGINNING`."""

    def commit(self, group: str, cursor: str) -> None:
        """Remember, durably, how far a group has come."""

    def groups(self) -> list[str]:
        """Return the groups that have committed, in the order of their names."""

    def lag(self, group: str) -> int:
        """Return how many places of the log a group is behind; erased places count, too."""

    def of_subjects(self, subject_ids: Sequence[str]) -> list[StoredEvent]:
        """Return the events of some subjects, in the order of the log."""

    def erase(self, subject_ids: Sequence[str]) -> int:
        """Remove the events of some subjects, their bytes included; returns how many there were.

        Their event ids stay known (as hashes), so that a late retry does not bring them back.
        """

    def redact(self, user_ids: Sequence[str], visitor_ids: Sequence[str]) -> int:
        """Take mentions of people out of other subjects' events; returns how many events had one.

        A mention is the device of an account's event, or who shared the link that led to it. Their
        bytes are gone when this returns. It reads the whole log.
        """

    def trim(self, before: str) -> int:
        """Remove the events up to and including a cursor, for they were archived.

        Their ids stay known until `forget_ids`. Returns how many there were.
        """

    def forget_ids(self, received_before: float) -> int:
        """Forget the ids of events that were received before a moment and are no longer stored.

        Some may stay known longer: until all that went in together with them is as old. Such an id
        would be taken for a new one: give a moment that lies before the horizon within which late
        events are accepted. Returns how many there were.
        """

    def close(self) -> None:
        """Give back connections; the store must not be used afterwards."""

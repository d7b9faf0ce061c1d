"""What the stream keeps up to date: one part for each kind of thing.

The process reads the log once and hands the events to every part in turn. A new kind of thing is a
new part, listed in `qianmian.stream.assembly`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from qianmian.events.event import StoredEvent


class Part(Protocol):
    """Something that is made of events. All calls come from one thread.

    A process that was stopped at any point is given again what it had not committed, so doing a
    thing twice must have the effect of once.
    """

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Take in events of before the checkpoint that are not archived yet: memory alone."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Take in new events: memory alone, quick, and it does not fail."""

    def flush(self, now: float) -> None:
        """Do what the events taken ask for, and what is due at `now` (the service's clock).

        After it returned, the events are committed. When it raises `EventStoreError` or an error
        of the online store, it is called again: nothing is taken twice.
        """


@runtime_checkable
class Finisher(Protocol):
    """A part that puts work off."""

    def finish(self, now: float) -> None:
        """Do all of it, however long it takes."""


@runtime_checkable
class Keeper(Protocol):
    """A part that holds something of people in memory."""

    def forget(self, subject_ids: Collection[str]) -> None:
        """Drop all that is held of some subjects."""

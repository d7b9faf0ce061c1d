"""The part of the stream that clears the topic `bought`: what is in the features need not be told.

An order goes from the topic a few seconds after it was worked in, for the door may tell the topic
later than the stream has read the log. Once in a while what is too old goes, too: orders that were
told after that, or while a stream was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from time import monotonic
from typing import Final

from qianmian.contracts import topics
from qianmian.contracts.events import EventType
from qianmian.events.bought import KEPT_SECONDS, Purchase, keys_of, purchases
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent

#: Seconds from an order's features to its end in the topic, and between two looks at all of it.
SETTLE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 600.0


class BoughtPart:
    """Clears the topic (`stream.part.Part`); it comes behind the part that writes features."""

    def __init__(
        self, changes: Changes, *, target: EventType, clock: Callable[[], float] = monotonic
    ) -> None:
        """`target` is the event type that ledgers are made of; `clock` only measures waits."""
        self._changes = changes
        self._target = target
        self._clock = clock
        self._worked: dict[str, float] = {}  # key -> when it may go, in that order
        self._next_look = 0.0
        self._next_sweep = float("-inf")

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: these were in the features before."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        due = self._clock() + SETTLE_SECONDS
        for bought in purchases(events, self._target):
            self._worked.pop(bought.key, None)
            self._worked[bought.key] = due

    def flush(self, now: float) -> None:
        moment = self._clock()
        if self._worked and moment >= self._next_look:
            due = [key for key, _ in takewhile(lambda one: one[1] <= moment, self._worked.items())]
            self._changes.drop(topics.BOUGHT, due)
            for key in due:
                del self._worked[key]
            self._next_look = moment + SETTLE_SECONDS / 5
        if moment >= self._next_sweep:
            told = self._changes.get(topics.BOUGHT)
            read = {key: Purchase.read(key, value) for key, value in told.items()}
            old = [key for key, one in read.items() if one.received_at < now - KEPT_SECONDS]
            self._changes.drop(topics.BOUGHT, old)
            self._next_sweep = moment + SWEEP_SECONDS

    def forget(self, subject_ids: Collection[str]) -> None:
        """Drop all that is held of some subjects (`stream.part.Keeper`)."""
        for key in keys_of(subject_ids, self._worked):
            del self._worked[key]

"""The listener of a replica: one thread that brings changed facts to whoever keeps them here.

    listener = Listener(changes, every=0.05)
    listener.subscribe(topics.USERS, lambda changes: users.forget(c.key for c in changes))
    listener.start()

Each part of a replica that keeps something in memory subscribes to its topic before the start. At
the start every key of the topic comes once; afterwards, what changed, in order. A page of changes
that a subscriber cannot take comes again in parts, so that a bad one costs itself only: a newest
value may be told twice.

While the engine does not answer, or hangs, nothing new is heard: `facts` says so.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import groupby
from time import monotonic
from typing import Final

from qianmian.errors import EventStoreError
from qianmian.events.changes import Change, Changes
from qianmian.identity.untold import untold

log = logging.getLogger(__name__)

Subscriber = Callable[[Sequence[Change]], None]
_PAGE: Final = 10_000
#: Seconds between two looks while the engine does not answer.
_PATIENCE: Final = 1.0
#: Seconds without a whole look, beside the rhythm, after which facts count as old.
GRACE_SECONDS: Final = 2.0
#: Seconds that a replica waits for its first whole look before it serves without.
FIRST_LOOK_SECONDS: Final = 30.0


class Facts(StrEnum):
    """How well a replica knows what changed elsewhere."""

    UNFOLLOWED = "unfollowed"  # nobody started to listen
    AWAITED = "awaited"  # not one whole look yet
    CURRENT = "current"
    OLD = "old"


_BEHIND: Final = frozenset({Facts.AWAITED, Facts.OLD})


class Listener:
    """Reads the topics and tells the subscribers, on a thread of its own."""

    def __init__(
        self,
        changes: Changes,
        *,
        every: float,
        on_failure: Callable[[str], object] = log.debug,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`every` is in seconds; `on_failure` counts a reason (`FeedMetrics.failed`)."""
        self._changes = changes
        self._every = every
        self._on_failure = on_failure
        self._subscribers: dict[str, list[Subscriber]] = defaultdict(list)
        self._clock = clock
        self._started_at: float | None = None
        self._heard_at: float | None = None  # when the last whole look began
        self._cursor = 0
        self._reading = threading.Lock()
        self._stopping = threading.Event()
        self._deaf = False
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def subscribe(self, topic: str, subscriber: Subscriber) -> None:
        """Have a subscriber told of a topic's changes; call it before the start."""
        self._subscribers[topic].append(subscriber)

    def start(self) -> None:
        """Take in what there is, as far as the engine answers, and follow from there on."""
        self._started_at = self._clock()
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Stop following; returns when the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def facts(self) -> Facts:
        """How well what changed is known; every page asks."""
        heard = self._heard_at
        if self._started_at is None:
            return Facts.UNFOLLOWED
        if heard is None:
            return Facts.AWAITED
        late = self._clock() - heard > self._every + GRACE_SECONDS
        return Facts.OLD if late else Facts.CURRENT

    @property
    def behind(self) -> bool:
        """Whether something may have changed that is not known here."""
        return self.facts in _BEHIND

    @property
    def waiting(self) -> bool:
        """Whether pages should wait for the first look.

        Not for ever: a replica that knows the data set alone is better than none.
        """
        started = self._started_at
        if started is None or self.facts is not Facts.AWAITED:
            return False
        return self._clock() - started < FIRST_LOOK_SECONDS

    def catch_up(self) -> int:
        """Take in everything that changed until now; returns how many changes there were.

        Raises:
            EventStoreError: the engine does not answer.
        """
        count = 0
        with self._reading:
            began = self._clock()
            while True:
                changes, self._cursor = self._changes.since(self._cursor, _PAGE)
                count += len(changes)
                for topic, group in groupby(changes, key=lambda change: change.topic):
                    self._tell(topic, list(group))
                if len(changes) < _PAGE:
                    self._heard_at = began
                    return count

    def _run(self) -> None:
        while not self._stopping.wait(_PATIENCE if self._deaf else self._every):
            self._look()

    def _look(self) -> None:
        try:
            self.catch_up()
        except Exception as error:  # noqa: BLE001  # the thread must go on
            self._on_failure("changes_unavailable")
            if not self._deaf:
                why = str(error) if isinstance(error, EventStoreError) else untold(error)
                log.warning("cannot follow changes, trying on: %s", why)
            self._deaf = True
        else:
            self._deaf = False

    def _tell(self, topic: str, changes: Sequence[Change]) -> None:
        for subscriber in self._subscribers.get(topic, ()):
            errors = _told(subscriber, changes)
            if errors:
                log.error(
                    "a subscriber of %r could not take %d of %d changes\n%s",
                    topic,
                    len(errors),
                    len(changes),
                    untold(errors[0]),  # names nobody
                )
            for _ in errors:
                self._on_failure("subscriber_failed")


def _told(subscriber: Subscriber, changes: Sequence[Change]) -> list[Exception]:
    """Tell a subscriber; returns an error for each change that it cannot take."""
    try:
        subscriber(changes)
    except Exception as error:  # noqa: BLE001  # must not keep facts from the others
        if len(changes) == 1:
            return [error]
        half = len(changes) // 2
        return _told(subscriber, changes[:half]) + _told(subscriber, changes[half:])
    return []

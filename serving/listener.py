"""The listener of a replica: one thread that brings changed facts to whoever keeps them here.

    listener = Listener(changes, every=0.05)
    listener.subscribe(topics.USERS, lambda changes: users.forget(c.key for c in changes))
    listener.start()

Each part of a replica that keeps something in memory subscribes to its topic before the start. At
the start every key of the topic comes once; afterwards, what changed, in order.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from qianmian.errors import EventStoreError
from qianmian.events.changes import Change, Changes
from qianmian.identity.untold import untold

log = logging.getLogger(__name__)

Subscriber = Callable[[Sequence[Change]], None]
_PAGE: Final = 10_000
#: Seconds between two looks while the engine does not answer.
_PATIENCE: Final = 1.0


class Listener:
    """Reads the topics and tells the subscribers, on a thread of its own."""

    def __init__(
        self,
        changes: Changes,
        *,
        every: float,
        on_failure: Callable[[str], object] = log.debug,
    ) -> None:
        """`every` is in seconds; `on_failure` counts a reason (`FeedMetrics.failed`)."""
        self._changes = changes
        self._every = every
        self._on_failure = on_failure
        self._subscribers: dict[str, list[Subscriber]] = defaultdict(list)
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
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Stop following; returns when the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def catch_up(self) -> int:
        """Take in everything that changed until now; returns how many changes there were.

        Raises:
            EventStoreError: the engine does not answer.
        """
        count = 0
        with self._reading:
            while True:
                changes, self._cursor = self._changes.since(self._cursor, _PAGE)
                count += len(changes)
                for topic, group in groupby(changes, key=lambda change: change.topic):
                    self._tell(topic, list(group))
                if len(changes) < _PAGE:
                    return count

    def _run(self) -> None:
        while not self._stopping.wait(_PATIENCE if self._deaf else self._every):
            self._look()

    def _look(self) -> None:
        try:
            self.catch_up()
        except EventStoreError as error:
            self._on_failure("changes_unavailable")
            if not self._deaf:
                log.warning("cannot follow changes, trying on: %s", error)
            self._deaf = True
        else:
            self._deaf = False

    def _tell(self, topic: str, changes: Sequence[Change]) -> None:
        for subscriber in self._subscribers.get(topic, ()):
            try:
                subscriber(changes)
            except Exception as error:  # noqa: BLE001  # must not keep facts from the others
                log.error(  # noqa: TRY400  # names nobody
                    "a subscriber of %r failed\n%s", topic, untold(error)
                )
                self._on_failure("subscriber_failed")

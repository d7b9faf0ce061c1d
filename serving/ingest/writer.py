"""Write the events of many requests in one transaction: one sync of the disk serves them all.

Requests wait on the event loop while a thread of its own writes; whatever arrived during one write
goes into the next. So the disk sets the pace of transactions, not of requests, and answering pages
goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Final

from qianmian.errors import EventStoreError
from qianmian.events.event import StoredEvent
from qianmian.events.store import EventStore

#: Events of one transaction: more would make the first of them wait for the last.
_GROUP: Final = 2_000
#: Events that may wait; beyond that a request is told to come again.
MAX_WAITING: Final = 50_000


class BusyError(EventStoreError):
    """More events wait to be written than is sensible to promise anything for."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    events: Sequence[StoredEvent]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[list[bool]]


class GroupWriter:
    """Appends to an event store from a thread of its own."""

    def __init__(
        self,
        store: EventStore,
        *,
        max_waiting: int = MAX_WAITING,
        on_written: Callable[[int, float], object] = lambda _events, _seconds: None,
    ) -> None:
        """`on_written` is told of each transaction: its events and its seconds."""
        self._store = store
        self._max_waiting = max_waiting
        self._on_written = on_written
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._waiting = 0  # events; touched on event loops and, under the lock, by the thread
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    async def append(self, events: Sequence[StoredEvent]) -> list[bool]:
        """Store events; returns for each whether it is new, once they are on the disk.

        Raises:
            BusyError: too many wait already.
            EventStoreError: the store cannot be written; none of them was stored.
        """
        if not events:
            return []
        with self._counting:
            if self._waiting + len(events) > self._max_waiting:
                raise BusyError(f"{self._waiting} events wait to be written; send them later")
            self._waiting += len(events)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(events, loop, loop.create_future())
        self._queue.put(waiting)
        return await waiting.done

    def close(self) -> None:
        """Write what waits, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, last = self._group(first)
            self._write(group)
            if last:
                return

    def _group(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Collect what waits; also whether the end was asked for."""
        group, count = [first], len(first.events)
        while count < _GROUP:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                return group, True
            group.append(more)
            count += len(more.events)
        return group, False

    def _write(self, group: list[_Waiting]) -> None:
        events = [event for waiting in group for event in waiting.events]
        began = perf_counter()
        try:
            new = self._store.append(events)
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            for waiting in group:
                _tell(waiting, error)
        else:
            self._on_written(len(events), perf_counter() - began)
            at = 0
            for waiting in group:
                _tell(waiting, new[at : at + len(waiting.events)])
                at += len(waiting.events)
        with self._counting:
            self._waiting -= len(events)


def _tell(waiting: _Waiting, outcome: list[bool] | Exception) -> None:
    def tell() -> None:
        if waiting.done.done():  # whoever asked has left
            return
        if isinstance(outcome, Exception):
            waiting.done.set_exception(outcome)
        else:
            waiting.done.set_result(outcome)

    if not waiting.loop.is_closed():
        waiting.loop.call_soon_threadsafe(tell)

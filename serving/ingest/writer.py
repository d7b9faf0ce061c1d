"""Write what many requests bring in one transaction: one sync of the disk serves them all.

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
from typing import Final, Generic, TypeVar

from qianmian.errors import EventStoreError

Entry = TypeVar("Entry")
Result = TypeVar("Result")

#: Entries of one transaction: more would make the first of them wait for the last.
_GROUP: Final = 2_000
#: Entries that may wait; beyond that a request is told to come again.
MAX_WAITING: Final = 50_000


class BusyError(EventStoreError):
    """More waits to be written than is sensible to promise anything for."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Entry, Result]):
    entries: Sequence[Entry]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[list[Result]]


class GroupWriter(Generic[Entry, Result]):
    """Writes entries, such as events into the log, from a thread of its own."""

    def __init__(
        self,
        write: Callable[[list[Entry]], list[Result]],
        *,
        name: str,
        max_waiting: int = MAX_WAITING,
        on_written: Callable[[int, float], object] = lambda _events, _seconds: None,
    ) -> None:
        """Write with `write`, which gives a result for each entry.

        The thread has this name; `on_written` is told of each transaction: its entries and its
        seconds.
        """
        self._write = write
        self._max_waiting = max_waiting
        self._on_written = on_written
        self._queue: SimpleQueue[_Waiting[Entry, Result] | None] = SimpleQueue()
        self._waiting = 0  # entries; touched on event loops and, under the lock, by the thread
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def append(self, entries: Sequence[Entry]) -> list[Result]:
        """Write entries; returns the result of each, once they are on the disk.

        Raises:
            BusyError: too many wait already.
            EventStoreError: the store cannot be written; none of them was stored.
        """
        if not entries:
            return []
        with self._counting:
            if self._waiting + len(entries) > self._max_waiting:
                raise BusyError(f"{self._waiting} events wait to be written; send them later")
            self._waiting += len(entries)
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Entry, Result] = _Waiting(entries, loop, loop.create_future())
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
            self._write_group(group)
            if last:
                return

    def _group(self, first: _Waiting[Entry, Result]) -> tuple[list[_Waiting[Entry, Result]], bool]:
        """Collect what waits; also whether the end was asked for."""
        group, count = [first], len(first.entries)
        while count < _GROUP:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                return group, True
            group.append(more)
            count += len(more.entries)
        return group, False

    def _write_group(self, group: list[_Waiting[Entry, Result]]) -> None:
        entries = [entry for waiting in group for entry in waiting.entries]
        began = perf_counter()
        try:
            results = self._write(entries)
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            for waiting in group:
                _tell(waiting, error)
        else:
            self._on_written(len(entries), perf_counter() - began)
            at = 0
            for waiting in group:
                _tell(waiting, results[at : at + len(waiting.entries)])
                at += len(waiting.entries)
        with self._counting:
            self._waiting -= len(entries)


def _tell(waiting: _Waiting[Entry, Result], outcome: list[Result] | Exception) -> None:
    def tell() -> None:
        if waiting.done.done():  # whoever asked has left
            return
        if isinstance(outcome, Exception):
            waiting.done.set_exception(outcome)
        else:
            waiting.done.set_result(outcome)

    if not waiting.loop.is_closed():
        waiting.loop.call_soon_threadsafe(tell)

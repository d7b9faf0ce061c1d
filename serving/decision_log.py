"""The decision log of one replica: every answer, written down behind the request's back.

The request path appends a reference to a queue; a thread writes what has gathered
to the replica's open segment. What a killed replica can lose is what had not been written yet: the
answers of the last `flush_ms`, at most `flush_decisions`, and of the write that was under way. A
disk that is full, or a writer that cannot keep up, costs log rows and never a page: they are
counted as dropped. Rotated segments are sealed, and old ones removed, by another process.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import sleep, time
from typing import Annotated, Final

from prometheus_client import CollectorRegistry, Counter
from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.decisions import tend
from qianmian.decisions.writer import SegmentWriter
from serving.feed.decisions import Decision

log = logging.getLogger(__name__)

DISK: Final = "disk"
BACKLOG: Final = "backlog"
ENCODING: Final = "encoding"
_TEND_SECONDS: Final = 0.2  # how often an idle writer looks whether its segment is to be sealed
_CHUNK: Final = 64  # frames that are made in one go
_DAY: Final = 86_400.0
_MEGABYTE: Final = 1_000_000


class DecisionLogSettings(ConfigModel):
    """What is written down of each answer, and for how long."""

    enabled: bool = True
    """Whether answers are logged."""
    folder: Path | None = None
    """Where segments lie; null: `decisions/` of the data set."""
    flush_ms: Annotated[float, Field(gt=0, le=10_000)] = 100.0
    """Answers wait this long, at most, before they are written: a killed replica loses no more."""
    flush_decisions: Annotated[int, Field(ge=1)] = 256
    """Once so many answers wait, they are written at once."""
    max_waiting: Annotated[int, Field(ge=1)] = 10_000
    """Answers that may wait while the disk is slow; further ones are dropped and counted."""
    fsync: bool = False
    """Whether each write is forced to the disk, so that a crash of the machine loses no more than
    that of the replica does."""
    segment_mb: Annotated[float, Field(gt=0)] = 128.0
    """A segment is sealed when it is this large,"""
    segment_minutes: Annotated[float, Field(gt=0)] = 60.0
    """or this old."""
    retention_days: Annotated[float, Field(gt=0)] = 90.0
    """Sealed segments older than this are removed,"""
    retention_mb: Annotated[float, Field(gt=0)] = 20_000.0
    """and the oldest ones when all are larger than this."""


class DecisionLog:
    """Takes decisions from the request path and writes them in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        settings: DecisionLogSettings,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        """`clock` gives seconds since the epoch by the machine's clock."""
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._waiting: deque[Decision] = deque()
        self._resting = True  # whether the writer must be woken
        self._work = threading.Event()
        self._full = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tending: subprocess.Popen[bytes] | None = None
        self._complained = False
        self._retention = tend.Retention(
            seconds=settings.retention_days * _DAY, bytes=int(settings.retention_mb * _MEGABYTE)
        )
        self._writer = SegmentWriter(
            folder,
            replica=f"{os.getpid()}-{secrets.token_hex(4)}",
            max_bytes=int(settings.segment_mb * _MEGABYTE),
            max_seconds=settings.segment_minutes * 60.0,
            fsync=settings.fsync,
            clock=clock,
        )
        self._logged = Counter(
            "qianmian_decisions_logged", "Answers written to the decision log", registry=registry
        )
        self._dropped = Counter(
            "qianmian_decisions_dropped",
            "Answers that the decision log lost",
            ["reason"],
            registry=registry,
        )

    def record(self, decision: Decision) -> None:
        """Take a decision over; never waits and never raises."""
        waiting = self._waiting
        if len(waiting) >= self._settings.max_waiting:
            self._dropped.labels(BACKLOG).inc()
            return
        waiting.append(decision)
        if self._resting:
            self._wake()
        elif len(waiting) == self._settings.flush_decisions:
            self._full.set()

    def close(self) -> None:
        """Write what waits, let the segment go and seal it."""
        with self._starting:
            self._stopping.set()
            thread = self._thread
        if thread is None:
            return
        self._full.set()
        self._work.set()
        thread.join()

    def _wake(self) -> None:
        self._resting = False
        self._work.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._stopping.is_set():
                return
            self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause = self._settings.flush_ms / 1e3
        while not self._stopping.is_set():
            self._work.wait(_TEND_SECONDS if self._writer.is_open else None)
            if self._waiting and not self._stopping.is_set():
                self._full.wait(pause)
            self._full.clear()
            self._work.clear()
            self._resting = True  # before the queue is emptied, so nothing is left unnoticed
            self._write()
            if self._writer.due():
                self._writer.close()
                self._tend()
        self._write()
        self._writer.close()
        self._tend_at_last()

    def _write(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self._settings.flush_decisions)
            frames = list(filter(None, (self._frame(n) for n in range(count))))
            if not frames:
                continue
            try:
                self._writer.append(frames)
            except OSError as error:
                self._lost(DISK, len(frames), error)
                continue
            self._complained = False
            self._logged.inc(len(frames))

    def _frame(self, number: int) -> bytes | None:
        if number % _CHUNK == _CHUNK - 1:
            sleep(0)  # let the thread that answers requests have the interpreter
        decision = self._waiting.popleft()
        try:
            return decision.frame()
        except Exception as error:  # noqa: BLE001  # the next ones are to be logged all the same
            self._lost(ENCODING, 1, error)
            return None

    def _lost(self, reason: str, count: int, error: Exception) -> None:
        self._dropped.labels(reason).inc(count)
        if not self._complained:
            self._complained = True
            log.error(
                "decisions dropped (%s), further ones are only counted: %s",
                reason,
                type(error).__name__ if reason == ENCODING else error,
            )

    def _tend(self) -> None:
        """Seal and remove in another process: it takes longer than an answer may wait."""
        if self._tending is not None and self._tending.poll() is None:
            return  # it comes back at the next rotation
        try:
            self._tending = tend.start(self._folder, self._retention)
        except OSError:
            log.exception("%s: segments cannot be sealed now; trying again later", self._folder)

    def _tend_at_last(self) -> None:
        if self._tending is not None:
            self._tending.wait()
        try:
            tend.tend(self._folder, self._retention, now=self._clock())
        except OSError:
            log.exception("%s: segments could not be sealed; the next start does", self._folder)

"""Appends frames to one open segment after another, each held by a lock.

A frame is on the operating system's side when `append` returns: killing the process loses nothing
of it. Only a crash of the machine can, unless `fsync` is asked for. A write that fails half-way is
cut off again, so the segment stays readable to its end.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from qianmian.decisions.segments import OPEN, PARTIAL, SEAL_FILE

_NAME_FORMAT: Final = "%Y%m%dT%H%M%S"


class SegmentWriter:
    """Writes the segments of one replica; belongs to one thread."""

    def __init__(
        self,
        folder: Path,
        *,
        replica: str,
        max_bytes: int,
        max_seconds: float,
        fsync: bool,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives seconds since the epoch by the machine's clock."""
        self._folder = folder
        self._replica = replica
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._fsync = fsync
        self._clock = clock
        self._count = 0
        self._descriptor: int | None = None
        self._bytes = 0
        self._opened_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a segment is open."""
        return self._descriptor is not None

    def append(self, frames: Sequence[bytes]) -> None:
        """Write frames.

        Raises:
            OSError: it could not be written, and nothing of it was.
        """
        descriptor = self._open() if self._descriptor is None else self._descriptor
        rest = memoryview(b"".join(frames))
        size = len(rest)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if self._fsync:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._bytes)
            os.lseek(descriptor, self._bytes, os.SEEK_SET)
            raise
        self._bytes += size

    def due(self) -> bool:
        """Return whether the open segment is full, old, or asked to be sealed."""
        if self._descriptor is None:
            return False
        if self._bytes >= self._max_bytes:
            return True
        if self._clock() - self._opened_at >= self._max_seconds:
            return True
        try:
            asked_at = (self._folder / SEAL_FILE).stat().st_mtime
        except FileNotFoundError:
            return False
        return asked_at >= self._opened_at

    def close(self) -> None:
        """Let the open segment go, for whoever seals it."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # and with it the lock
            self._descriptor = None

    def _open(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        now = self._clock()
        started = datetime.fromtimestamp(now, tz=UTC).strftime(_NAME_FORMAT)
        path = self._folder / f"{started}-{self._replica}-{self._count:06d}{OPEN}"
        draft = path.with_name(f".{path.stem}{PARTIAL}")  # nobody may find it unlocked
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._count += 1
        self._bytes = 0
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            draft.rename(path)
        except OSError:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        self._descriptor, self._opened_at = descriptor, now
        return descriptor

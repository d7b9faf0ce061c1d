"""A folder that somebody works in, held by a lock (flock) that goes with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def holding(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a folder, as nobody else does meanwhile.

    Raises:
        BlockingIOError: another holds it, and one is not to wait.
    """
    handle = hold(folder, wait=wait)
    try:
        yield
    finally:
        os.close(handle)


def hold(folder: Path, *, wait: bool = True) -> int:
    """The same until what is returned is closed (`os.close`)."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(opened)
        raise
    return opened

"""Folders in which releases are put together, and what a killed training left of them.

    <root>/.staging-*/    held by a lock (flock) as long as somebody works in it

The lock goes with its process, so a folder that nobody holds is nobody's any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PREFIX: Final = ".staging-"


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Give an empty folder below `root`; what was not moved away from it is removed."""
    root.mkdir(parents=True, exist_ok=True)
    with _held(root):
        _clear(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def clear_abandoned(root: Path) -> None:
    """Remove the folders that nobody works in: the user ids of a killed training lie there."""
    if root.is_dir():
        with _held(root):
            _clear(root)


def _clear(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            lock = _lock(folder, wait=False)
        except BlockingIOError:  # somebody works there
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def _held(root: Path) -> Iterator[None]:
    """Nobody else makes or removes a folder meanwhile: a new one has its lock before it is seen."""
    lock = _lock(root)
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path, *, wait: bool = True) -> int:
    """Open a folder and lock it until it is closed; BlockingIOError where another has it."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(opened)
        raise
    return opened

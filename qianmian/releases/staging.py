"""Folders in which releases are put together, and what a killed training left of them.

    <root>/.staging-*/    held by a lock (flock) as long as somebody works in it

The lock goes with its process, so a folder that nobody holds is nobody's any more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from qianmian.folder_lock import hold, holding

_PREFIX: Final = ".staging-"


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Give an empty folder below `root`; what was not moved away from it is removed."""
    root.mkdir(parents=True, exist_ok=True)
    with holding(root):  # a new folder has its lock before it is seen
        _clear(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = hold(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def clear_abandoned(root: Path) -> None:
    """Remove the folders that nobody works in: the user ids of a killed training lie there."""
    if root.is_dir():
        with holding(root):
            _clear(root)


def _clear(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(BlockingIOError), holding(folder, wait=False):  # else somebody works there
            shutil.rmtree(folder, ignore_errors=True)

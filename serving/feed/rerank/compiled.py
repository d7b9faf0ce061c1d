"""Compilation of the re-ranker's inner loops; everything else here is plain numpy.

Why these loops are compiled, and what that costs at a replica's start, is in docs/adr/0015.

The compiled code is kept on disk. numba looks only at the file of the outermost function to see
whether it is still good, so the place is named after the source of the whole package.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

#: Sums may be reassociated, so that dot products use the machine's vectors; infinities stay exact.
_FASTMATH: Final = ("reassoc", "contract", "nsz", "arcp")
_PACKAGE: Final = Path(__file__).parent


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call.

    Where no cache can be written, each process compiles for itself.
    """
    make = partial(numba.njit, fastmath=set(_FASTMATH), nogil=True, error_model="numpy")
    return cast("F", make(cache=_CACHED)(function))


def inlined(function: F) -> F:
    """Compile a function into each of its callers, where a call would count references."""
    return cast("F", numba.njit(inline="always")(function))


def _use_cache() -> bool:
    """Tell numba where to keep compiled code; returns whether there is such a place."""
    config: Any = numba.config  # its names are made at import
    if config.CACHE_DIR:  # NUMBA_CACHE_DIR is set
        return True
    digest = blake2b(numba.__version__.encode(), digest_size=8)
    for path in sorted(_PACKAGE.glob("*.py")):
        digest.update(path.read_bytes())
    for parent in _places():
        place = parent / f"numba-{digest.hexdigest()}"
        try:
            for folder in (parent, place):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _own(parent) and os.access(place, os.W_OK):
            config.CACHE_DIR = str(place)
            return True
    return False


def _own(folder: Path) -> bool:
    """Return whether nobody else can have put code there."""
    status = folder.stat()
    return status.st_uid in {0, os.getuid()} and not status.st_mode & stat.S_IWOTH


def _places() -> Iterator[Path]:
    yield _PACKAGE / "__pycache__"
    yield Path(tempfile.gettempdir()) / f"qianmian-{os.getuid()}"


_CACHED: Final = _use_cache()

"""Compilation of the re-ranker's inner loops; everything else here is plain numpy.

Why these loops are compiled, and what that costs at a replica's start, is in docs/adr/0008.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

#: Sums may be reassociated, so that dot products use the machine's vectors; infinities stay exact.
_FASTMATH: Final = ("reassoc", "contract", "nsz", "arcp")


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers at its first call; the code is kept on disk.

    Where no cache directory can be written, each process compiles for itself.
    """
    make = partial(numba.njit, fastmath=set(_FASTMATH), nogil=True, error_model="numpy")
    try:
        return cast("F", make(cache=True)(function))
    except RuntimeError:  # numba found no place for its cache
        return cast("F", make()(function))

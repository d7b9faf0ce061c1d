"""What training asks of the machine that it runs on: threads, and memory that stays at hand."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from threadpoolctl import threadpool_limits

_TRIM_THRESHOLD: Final = -1  # of mallopt(3)
_MMAP_THRESHOLD: Final = -3
_MOST_TRIMMED: Final = 2**31 - 1  # bytes; mallopt takes an int
_MOST_MAPPED: Final = 2**30


def let_waiting_threads_rest() -> None:
    """Have OpenMP's threads that wait leave their core to others; to be called before torch loads.

    They spin while they wait for one another. Alone on a machine that gained nothing that was
    measured; beside a busy process two threads spin through the time of the third. OpenMP reads the
    setting when it is loaded; what the environment says already stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextmanager
def for_training() -> Iterator[None]:
    """Within the block NumPy's products take one thread; memory once taken stays for the process.

    NumPy's matrix products are small here and take turns with torch: one BLAS thread is several
    times faster than two that wait for each other.
    """
    keep_freed_memory()
    with threadpool_limits(1, user_api="blas"):
        yield


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for what comes next; True where it can be told.

    glibc gives freed arrays of some megabytes back to the system, and each batch takes them anew:
    the system maps and clears their pages every time, which on a virtual machine can take longer
    than what is computed in them. It holds until the process ends. Other C libraries are left as
    they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_MMAP_THRESHOLD, _MOST_MAPPED), mallopt(_TRIM_THRESHOLD, _MOST_TRIMMED)
    return all(kept)

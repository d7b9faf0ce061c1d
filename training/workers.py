"""Spreads work over all cores where threads would wait for the interpreter's lock.

Worker processes are forked, as PyTorch's DataLoader does it: they see what the function closes over
without a copy, and only what they give comes back through a pipe. The function must not draw from
generators that go on afterwards, nor call torch's own threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")
R = TypeVar("R")

_WORTH_A_FORK: Final = 8  # pieces of work; fewer are done before workers have begun


def by_all_cores(function: Callable[[T], R], pieces: Sequence[T]) -> Iterator[R]:
    """What the function gives for each piece, in order; a few results wait in memory.

    In this process where there is one core or little work, and where processes cannot be forked
    safely (beyond Linux). The results are the same.
    """
    workers = cores() if sys.platform == "linux" and len(pieces) >= _WORTH_A_FORK else 1
    if workers == 1:
        yield from map(function, pieces)
        return
    yield from DataLoader(
        _Pieces(function, pieces),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context="fork",
        generator=torch.Generator(),  # of its own: ours gives the same with and without workers
    )


def in_parts(size: int, at_once: int) -> list[range]:
    """The numbers below `size`, so many at once."""
    return [range(i, min(i + at_once, size)) for i in range(0, size, at_once)]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Pieces(Dataset[R]):
    def __init__(self, function: Callable[[Any], R], pieces: Sequence[Any]) -> None:
        self._function, self._pieces = function, pieces

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> R:
        return self._function(self._pieces[index])


def _as_it_is(result: R) -> R:
    return result

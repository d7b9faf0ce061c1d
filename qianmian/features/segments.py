"""Runs in sorted arrays, and lists built from them: the vocabulary of the feature functions.

Every feature is a statement about the run of rows that share a key (a user, an item, a user's
item). Rows are sorted once; after that a feature is a boundary search and a reduction, with no
Python loop over entities. Sums run in row order through `numpy.bincount`, so that a run gives the
same bits whatever stands around it: one user's features do not depend on the other users.

Shapes: `n` rows, `r` runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Keys = Sequence[npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Runs:
    """Maximal stretches of rows with equal keys.

    `starts` and `ends` (exclusive) are int64 [r]; `of_row` is int64 [n], the run of each row.
    """

    starts: Int64
    ends: Int64
    of_row: Int64

    @classmethod
    def of(cls, *keys: npt.NDArray[np.generic]) -> Runs:
        """Find the runs of rows that agree in all `keys`, each [n] and sorted together.

        >>> Runs.of(np.array([3, 3, 5])).starts.tolist()
        [0, 2]
        """
        n = len(keys[0])
        change = np.zeros(n, dtype=bool)
        change[:1] = True
        for key in keys:
            change[1:] |= key[1:] != key[:-1]
        starts = np.flatnonzero(change).astype(np.int64)
        ends = np.append(starts[1:], n).astype(np.int64)[: len(starts)]
        return cls(starts=starts, ends=ends, of_row=np.cumsum(change) - 1)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Int64:
        return self.ends - self.starts

    def sum(self, values: Float64) -> Float64:
        """Sum of `values` [n] over each run, float64 [r]."""
        return weighted_counts(self.of_row, values, len(self))

    def minimum(self, values: Float64) -> Float64:
        """Least of `values` [n] in each run, float64 [r]."""
        return np.minimum.reduceat(values, self.starts) if len(self) else values[:0]

    def maximum(self, values: Float64) -> Float64:
        """Greatest of `values` [n] in each run, float64 [r]."""
        return np.maximum.reduceat(values, self.starts) if len(self) else values[:0]

    def median(self, values: Float64) -> Float64:
        """Median of `values` [n], which must ascend within each run, float64 [r]."""
        low = values[self.starts + (self.lengths - 1) // 2]
        high = values[self.starts + self.lengths // 2]
        middle: Float64 = (low + high) / 2.0
        return middle


def counts(codes: npt.NDArray[np.integer], size: int) -> Float64:
    """How often each code of 0..size-1 occurs, float64 [size]."""
    return np.bincount(codes, minlength=size).astype(np.float64)


def weighted_counts(codes: npt.NDArray[np.integer], weights: Float64, size: int) -> Float64:
    """Sum of `weights` [n] over each code of 0..size-1, in row order, float64 [size]."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.float64)


def newest_first(runs: Runs, limit: int) -> tuple[Int64, Int32]:
    """Rows of each run from its end, at most `limit`.

    Returns row positions int64 [m] and list offsets int32 [r + 1].

    >>> rows, offsets = newest_first(Runs.of(np.array([3, 3, 3, 5])), limit=2)
    >>> rows.tolist(), offsets.tolist()
    ([2, 1, 3], [0, 2, 3])
    """
    lengths = np.minimum(runs.lengths, limit)
    offsets = offsets_of(lengths)
    within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], lengths)
    return np.repeat(runs.ends - 1, lengths) - within, offsets


def leading(runs: Runs, limit: int) -> tuple[Int64, Int32]:
    """Rows of each run from its start, at most `limit`: positions [m] and offsets int32 [r + 1]."""
    lengths = np.minimum(runs.lengths, limit)
    offsets = offsets_of(lengths)
    within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], lengths)
    return np.repeat(runs.starts, lengths) + within, offsets


def offsets_of(lengths: npt.NDArray[np.integer]) -> Int32:
    """List offsets int32 [r + 1] of lists with these lengths [r]."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def lists(offsets: Int32, values: pa.Array) -> pa.ListArray:
    """Arrow lists over `values` [m]."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)

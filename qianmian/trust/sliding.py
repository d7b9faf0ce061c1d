"""Sliding windows over groups of events: what happened to the same one within some seconds.

Every rule that counts is built on it. The window of an event ends with it and holds whatever has
the same time, so the answer does not depend on the order of ties.

Shapes: `n` rows, `m` rows of a group key that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qianmian.trust.traffic import Bool, Float64, Int64


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows ordered by group and time; rows of an unknown group (-1) stand in no window."""

    rows: Int64  # [m] places in the arrays that were grouped
    _line: Float64  # [m] time on one line, groups far enough apart, ascending
    _at: Float64  # [m]
    _offset: Float64  # [m]

    @classmethod
    def by(cls, key: Int64, at: Float64, *, reach: float) -> Groups:
        """Group by `key` [n] for windows of up to `reach` seconds to either side."""
        rows = np.flatnonzero(key >= 0)
        rows = rows[np.lexsort((at[rows], key[rows]))]
        moments = at[rows] - (at[rows].min() if len(rows) else 0.0)
        span = (float(moments.max()) if len(rows) else 0.0) + 2.0 * reach + 1.0
        group = np.cumsum(np.diff(key[rows], prepend=key[rows][:1]) != 0)
        offset = group * span
        return cls(rows=rows, _line=moments + offset, _at=moments, _offset=offset)

    def counts(self, what: Bool, *, before: float, after: float = 0.0) -> Int64:
        """How many rows of a mask [n] lie within the window of each grouped row, [m]."""
        first, end = self.windows(before, after)
        running = np.concatenate([[0], np.cumsum(what[self.rows])])
        total: Int64 = running[end] - running[first]
        return total

    def windows(self, before: float, after: float = 0.0) -> tuple[Int64, Int64]:
        """First place and end of the window of each grouped row, [m] each."""
        first = np.searchsorted(self._line, self._offset + (self._at - before), side="left")
        end = np.searchsorted(self._line, self._offset + (self._at + after), side="right")
        return first, end

    def spread(self, hit: Bool, *, before: float) -> Bool:
        """Mark the whole window of every grouped row that is hit, over the arrays' rows.

        The result has a value for each row up to the last grouped one.
        """
        first, end = self.windows(before)
        edges = np.zeros(len(self.rows) + 1, dtype=np.int64)
        np.add.at(edges, first[hit], 1)
        np.add.at(edges, end[hit], -1)
        inside = np.cumsum(edges[:-1]) > 0
        marked = np.zeros(int(self.rows.max(initial=-1)) + 1, dtype=np.bool_)
        marked[self.rows[inside]] = True
        return marked

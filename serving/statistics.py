"""Item statistics that change while a release is in service.

The stream computes the statistics of items with new events; the listener brings them here. They go
into the resident item tables in place, so ranking sees them at the next request; what is made of
them (prices, conditions, the orders trending, new and plain popularity, which items are unseen)
follows every few seconds.
A release that is loaded later takes over all that is newer than its own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import orjson

from qianmian.contracts import features as f
from qianmian.contracts import topics
from qianmian.events.changes import Change
from qianmian.features.item_table import Float32
from qianmian.releases.bundle import Bundle


class Rhythm:
    """Lets a thing that is asked for often be done now and then."""

    def __init__(self, every: float) -> None:
        """`every` is in seconds."""
        self._every = every
        self._asked = False
        self._next = -np.inf

    def ask(self) -> None:
        """Ask for it."""
        self._asked = True

    def due(self, now: float) -> bool:
        """Return whether it is to be done now; then it counts as done."""
        if not self._asked or now < self._next:
            return False
        self._asked, self._next = False, now + self._every
        return True


class _Row(NamedTuple):
    as_of: float
    values: Float32  # [S], columns as contracts.features.ITEM_STATISTICS_NUMERIC
    first_at: float
    last_at: float


class LiveStatistics:
    """The newest statistics of each item that had events since the release was made."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._changed: dict[str, None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, changes: Sequence[Change]) -> None:
        """Remember what the stream computed; quick, for it is called by the listener."""
        fresh = {change.key: _read(change.value) for change in changes if change.value is not None}
        with self._lock:
            self._rows.update(fresh)
            self._changed.update(dict.fromkeys(fresh))

    def changed(self) -> list[str]:
        """Return the items that changed since the last time this was asked."""
        with self._lock:
            changed, self._changed = list(self._changed), {}
        return changed

    def apply(self, bundle: Bundle, item_ids: Sequence[str] | None = None) -> int:
        """Put statistics into a release, of some items or of all; returns of how many.

        Items that the release does not know, and statistics older than its own, are left out.
        """
        with self._lock:
            known = dict(self._rows) if item_ids is None else {i: self._rows[i] for i in item_ids}
        made = bundle.manifest.data_end.timestamp() if bundle.manifest else -np.inf
        chosen = [
            (index, row)
            for item_id, row in known.items()
            if row.as_of > made and (index := bundle.items.index_of(item_id)) >= 0
        ]
        if chosen:
            rows = np.array([index for index, _ in chosen], dtype=np.int32)
            bundle.items.update_statistics(
                rows,
                np.stack([row.values for _, row in chosen]),
                np.array([row.first_at for _, row in chosen]),
                np.array([row.last_at for _, row in chosen]),
            )
            bundle.features.refresh(rows, max(row.as_of for _, row in chosen))
        return len(chosen)


def _read(value: bytes) -> _Row:
    row = orjson.loads(value)
    return _Row(
        row[topics.AS_OF],
        np.array([row[name] for name in f.ITEM_STATISTICS_NUMERIC], dtype=np.float32),
        row[f.FIRST_SEEN_AT],
        row[f.LAST_SEEN_AT],
    )

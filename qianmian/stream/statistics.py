"""The part of the stream that keeps item statistics fresh: popularity, prices, trend.

Items with new events wait, and so do those of people who were merged or taken apart; every few
seconds those that waited longest are computed from all of their events, by the function of the
snapshots, and told twice: to Feast's online store, and to the replicas, which put them into their
resident item tables without a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from time import monotonic

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts import topics
from qianmian.data.archive import owned
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent, counts
from qianmian.features.event_log import EventLog
from qianmian.features.views import FeatureInputs
from qianmian.stream.history import History
from qianmian.stream.users import Write, moment_of, stamped


class StatisticsPart:
    """Item statistics from events (`stream.part.Part`)."""

    def __init__(
        self,
        inputs: FeatureInputs,
        history: History,
        changes: Changes,
        *,
        time_zone: str,
        write: Write,
        every: float,
        rows: int,
        canonical: Callable[[str], str] = lambda subject: subject,
        skew_seconds: float = 0.0,
    ) -> None:
        """Refresh every so many seconds, reading about `rows` events.

        `canonical` says as whom a subject counts: a merged visitor and its user are one person.
        A sender's clock may be `skew_seconds` ahead of the service's.
        The history is filled by the part of the user features, which must come before this one.
        """
        self._inputs = inputs
        self._history = history
        self._changes = changes
        self._time_zone = time_zone
        self._write = write
        self._every = every
        self._rows = rows
        self._canonical = canonical
        self._skew_seconds = skew_seconds
        self._newest: dict[str, float] = {}  # item with events of the service -> its newest
        self._waiting: dict[str, float] = {}  # item -> its newest that waits, oldest first
        self._next = 0.0
        self.computed = 0  # items, since the start

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Have their items wait, too: a stream that stopped may have left some behind."""
        self.take(events)

    def take(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            if counts(event) and event.item_id is not None:
                for newest in (self._waiting, self._newest):
                    newest[event.item_id] = max(event.timestamp, newest.get(event.item_id, 0.0))

    def recompute(self, subject_ids: Iterable[str]) -> None:
        """Have the items of some subjects wait: as whom these count is another now."""
        for item in pc.unique(self._history.of_subjects(subject_ids)[c.ITEM_ID]).to_pylist():
            self._waiting.setdefault(item, 0.0)

    def flush(self, now: float) -> None:
        if not self._waiting or monotonic() < self._next:
            return
        self.refresh(now)
        self._next = monotonic() + self._every

    def finish(self, now: float) -> None:
        """Compute whatever waits, however long it takes."""
        while self._waiting:
            self.refresh(now)

    def refresh(self, now: float) -> None:
        """Compute, write and announce the items that wait longest."""
        batch = self._batch()
        seen = [(self._waiting[item], self._newest.get(item, 0.0)) for item in batch]
        as_of = moment_of(now, seen, self._skew_seconds)
        rows = self._history.of_items(batch)
        rows = owned(rows, self._owners(rows))
        log = EventLog.build(rows, target=self._inputs.log.target, time_zone=self._time_zone)
        statistics = replace(self._inputs, log=log).compute(f.ITEM_STATISTICS, as_of)
        self._write(f.ITEM_STATISTICS, stamped(statistics, as_of))
        self._changes.put(topics.ITEM_STATISTICS, encoded(statistics, as_of))
        for item in batch:
            del self._waiting[item]
        self.computed += len(batch)

    def _owners(self, rows: pa.Table) -> dict[str, str]:
        """The merged subjects of some events, each with the one as whom it counts."""
        subjects = pc.unique(rows[c.USER_ID]).to_pylist()
        return {one: owner for one in subjects if (owner := self._canonical(one)) != one}

    def _batch(self) -> list[str]:
        batch: list[str] = []
        rows = 0
        for item in self._waiting:
            rows += self._history.count_of_item(item)
            if batch and rows > self._rows:
                break
            batch.append(item)
        return batch


def encoded(statistics: pa.Table, as_of: float) -> dict[str, bytes]:
    """Return what the topic holds of each item: its statistics as JSON, with their moment."""
    return {
        str(row.pop(c.ITEM_ID)): orjson.dumps({**row, topics.AS_OF: as_of})
        for row in statistics.to_pylist()
    }

"""Writes the status of the stream process, once a second, where everybody reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic, time

from qianmian.contracts import topics
from qianmian.events.changes import Changes
from qianmian.stream.features import FeaturePart
from qianmian.stream.process import Stream
from qianmian.stream.statistics import StatisticsPart
from qianmian.stream.status import STATUS_KEY, StreamStatus
from qianmian.stream.trust import TrustPart


class Reporter:
    """Writes the status."""

    def __init__(
        self,
        changes: Changes,
        stream: Stream,
        features: FeaturePart,
        statistics: StatisticsPart,
        trust: TrustPart,
        *,
        online: Callable[[], str],
        every: float = 1.0,
    ) -> None:
        self._changes = changes
        self._stream = stream
        self._features = features
        self._statistics = statistics
        self._trust = trust
        self._online = online
        self._every = every
        self._started_at = time()
        self._last = monotonic()
        self._events = 0

    def tell(self) -> None:
        """Write the status when it is time again."""
        if monotonic() - self._last >= self._every:
            self.write()

    def write(self, *, running: bool = True) -> None:
        """Write the status now."""
        stream, features = self._stream, self._features
        elapsed = max(monotonic() - self._last, 1e-3)
        lag_events, lag_seconds = stream.lag()
        status = StreamStatus(
            pid=os.getpid(),
            started_at=self._started_at,
            updated_at=time(),
            running=running,
            lag_events=lag_events,
            lag_seconds=round(lag_seconds, 3),
            events=stream.events,
            events_per_second=round((stream.events - self._events) / elapsed, 1),
            subjects=features.computed,
            rows=features.rows,
            batch_subjects=features.batch,
            batch_ms=round(features.batch_seconds * 1e3, 1),
            write_ms=round(features.write_seconds * 1e3, 1),
            items=self._statistics.computed,
            items_waiting=len(self._statistics),
            orders_undecided=self._trust.undecided,
            received_at=stream.received_at,
            online=self._online(),
        )
        self._changes.put(topics.STREAM, {STATUS_KEY: status.model_dump_json().encode()})
        self._last, self._events = monotonic(), stream.events

"""Counters of ingestion, for `GET /metrics`: what one replica was sent and what became of it."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from itertools import compress

from prometheus_client import CollectorRegistry, Counter, Histogram

from qianmian.events.accepting import Rejection
from qianmian.events.event import ATTRIBUTED, QUARANTINES, StoredEvent

_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 10.0)
_SIZES = (1, 10, 50, 100, 200, 500, 1_000, 2_000, 4_000)


class IngestMetrics:
    """All metrics of the events' door."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter(
            "qianmian_events_accepted", "New events on the disk", ["event_type"], registry=registry
        )
        self._duplicates = Counter(
            "qianmian_events_duplicate", "Events that were accepted before", registry=registry
        )
        self._rejected = Counter(
            "qianmian_events_rejected", "Events not taken", ["reason"], registry=registry
        )
        self._attributed = Counter(
            "qianmian_events_attributed",
            "New events by what their attribution token proved to be",
            ["attributed"],
            registry=registry,
        )
        self._quarantined = Counter(
            "qianmian_events_quarantined",
            "New events kept aside: the item or venue is not known yet",
            ["reason"],
            registry=registry,
        )
        self._seconds = Histogram(
            "qianmian_events_append_seconds",
            "Time of one transaction of the event log",
            buckets=_SECONDS,
            registry=registry,
        )
        self._sizes = Histogram(
            "qianmian_events_append_size",
            "Events in one transaction",
            buckets=_SIZES,
            registry=registry,
        )
        self._unwritten = Counter(
            "qianmian_events_unwritten",
            "Events told to come again: the log could not be written",
            registry=registry,
        )
        for attributed in ATTRIBUTED:
            self._attributed.labels(attributed)
        for reason in QUARANTINES:
            self._quarantined.labels(reason)

    def received(
        self, events: Iterable[StoredEvent], new: Sequence[bool], rejected: Iterable[Rejection]
    ) -> tuple[int, int]:
        """Book a batch that is on the disk; returns how many are new and how many are not."""
        fresh = list(compress(events, new))
        for counter, labels in (
            (self._accepted, [event.event_type for event in fresh]),
            (self._attributed, [event.attributed for event in fresh]),
            (self._quarantined, [event.quarantine for event in fresh if event.quarantine]),
            (self._rejected, [rejection.reason for rejection in rejected]),
        ):
            for label, count in Tally(labels).items():
                counter.labels(label).inc(count)
        duplicates = len(new) - len(fresh)
        self._duplicates.inc(duplicates)
        return len(fresh), duplicates

    def written(self, events: int, seconds: float) -> None:
        """Book one transaction."""
        self._sizes.observe(events)
        self._seconds.observe(seconds)

    def unwritten(self, events: int) -> None:
        """Book events that could not be written."""
        self._unwritten.inc(events)

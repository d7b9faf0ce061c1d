"""Counters of the request path, for `GET /metrics` in Prometheus' text form.

They count what one replica saw. The registry is passed in, so each service has its own.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from qianmian.experiments import Arm
from serving.feed.trace import Trace

_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0)


class FeedMetrics:
    """All metrics of one service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._seconds = Histogram(
            "qianmian_feed_seconds",
            "Time of a page in the request path",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._degraded = Counter(
            "qianmian_degraded", "Answers that needed a fallback", ["reason"], registry=registry
        )
        self._removed = Counter(
            "qianmian_candidates_removed",
            "Candidates taken out before they were shown",
            ["reason"],
            registry=registry,
        )
        self._relaxed = Counter(
            "qianmian_rules_relaxed",
            "Blocks that could not keep a rule of their page",
            ["rule"],
            registry=registry,
        )
        self._arms = Counter(
            "qianmian_assigned",
            "Answers by experiment arm",
            ["layer", "experiment", "arm"],
            registry=registry,
        )
        self._sponsored = Counter(
            "qianmian_sponsored_shown", "Sponsored places", ["campaign"], registry=registry
        )
        self._left_out = Counter(
            "qianmian_sponsored_left_out",
            "Campaigns that took no part in the auction of a page",
            ["reason"],
            registry=registry,
        )
        self._responses = Counter(
            "qianmian_http_responses", "HTTP responses", ["route", "status"], registry=registry
        )
        self._swaps = Counter(
            "qianmian_release_swaps",
            "Changes of the release in service",
            ["outcome"],
            registry=registry,
        )
        self._release = Gauge(
            "qianmian_release_info",
            "1 for the release in service, 0 for one before",
            ["alias", "release"],
            registry=registry,
        )
        self._venue_files = Counter(
            "qianmian_venue_files",
            "Changes of venue files, as they were taken over or refused",
            ["outcome"],
            registry=registry,
        )
        self._venue_faults = Gauge(
            "qianmian_venue_files_refused",
            "Venue files that are not in force as they stand",
            registry=registry,
        )
        self._inventory = Counter(
            "qianmian_inventory_rows", "Rows of POST /v1/inventory", ["outcome"], registry=registry
        )
        self._releases: list[Gauge] = []
        self._arm_counters: dict[Arm, Counter] = {}  # looking labels up costs more than counting
        self._removed_counters: dict[str, Counter] = {}
        self._response_counters: dict[tuple[str, int], Counter] = {}
        self._cache = Gauge(
            "qianmian_user_cache_lookups",
            "Lookups of the user cache since the start",
            ["outcome"],
            registry=registry,
        )

    def answered(self, trace: Trace, removed: Tally[str], arms: Sequence[Arm]) -> None:
        """Book one answer."""
        self._seconds.observe(trace.timing_ms["total"] / 1e3)
        for reason in trace.degraded:
            self._degraded.labels(reason).inc()
        for reason, count in removed.items():
            counter = self._removed_counters.get(reason)
            if counter is None:
                counter = self._removed_counters[reason] = self._removed.labels(reason)
            counter.inc(count)
        for arm in arms:
            counter = self._arm_counters.get(arm)
            if counter is None:
                counter = self._arms.labels(arm.layer, arm.experiment, arm.name)
                self._arm_counters[arm] = counter
            counter.inc()

    def sold(self, campaigns: Iterable[str], left_out: Mapping[str, int]) -> None:
        """Book the campaigns that a page shows, and those that took no part, by reason."""
        for campaign in campaigns:
            self._sponsored.labels(campaign).inc()
        for reason, count in left_out.items():
            self._left_out.labels(reason).inc(count)

    def relaxed(self, rules: Iterable[str]) -> None:
        """Book the rules that blocks could not keep."""
        for rule in rules:
            self._relaxed.labels(rule).inc()

    def failed(self, reason: str) -> None:
        """Book a failure outside the stages."""
        self._degraded.labels(reason).inc()

    def responded(self, route: str, status: int) -> None:
        """Book one HTTP response."""
        counter = self._response_counters.get((route, status))
        if counter is None:
            counter = self._responses.labels(route, str(status))
            self._response_counters[route, status] = counter
        counter.inc()

    def swapped(self, releases: dict[str, str]) -> None:
        """Book that these releases are in service now, by alias."""
        self._swaps.labels("taken").inc()
        for gauge in self._releases:
            gauge.set(0)
        self._releases = [self._release.labels(*pair) for pair in releases.items()]
        for gauge in self._releases:
            gauge.set(1)

    def refused(self) -> None:
        """Book that a promoted release was not taken over."""
        self._swaps.labels("refused").inc()

    def venue_file(self, outcome: str) -> None:
        """Book a change of venue files: `taken` or `refused`."""
        self._venue_files.labels(outcome).inc()

    def venue_files_refused(self, count: int) -> None:
        """Set how many venue files hold faults now."""
        self._venue_faults.set(count)

    def inventory(self, accepted: int, rejected: int) -> None:
        """Book the rows of one push."""
        self._inventory.labels("accepted").inc(accepted)
        self._inventory.labels("rejected").inc(rejected)

    def cache(self, hits: int, misses: int) -> None:
        """Set what the user cache has seen."""
        self._cache.labels("hit").set(hits)
        self._cache.labels("miss").set(misses)

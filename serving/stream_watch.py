"""What a replica knows of the stream process: for `GET /readyz` and `GET /metrics`.

The process says how it fares in the topic `stream`; the listener brings it here. Where it is silent
the replica goes on answering, with features that grow old, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import time
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from qianmian.events.changes import Change
from qianmian.stream.status import STATUS_KEY, StreamStatus

_GAUGES: Final[dict[str, tuple[str, Callable[[StreamStatus], float]]]] = {
    "qianmian_stream_lag_events": (
        "Events accepted that features do not hold yet",
        lambda status: status.lag_events,
    ),
    "qianmian_stream_lag_seconds": (
        "Age of the oldest of them",
        lambda status: status.lag_seconds,
    ),
    "qianmian_stream_events": (
        "Events worked in since the stream process started",
        lambda status: status.events,
    ),
    "qianmian_stream_events_per_second": (
        "Events worked in a second, lately",
        lambda status: status.events_per_second,
    ),
    "qianmian_stream_subjects": (
        "Subjects whose features were computed since the stream process started",
        lambda status: status.subjects,
    ),
    "qianmian_stream_batch_subjects": (
        "Subjects of the last batch",
        lambda status: status.batch_subjects,
    ),
    "qianmian_stream_batch_seconds": (
        "Time of the last batch: computing, writing, telling",
        lambda status: status.batch_ms / 1e3,
    ),
    "qianmian_stream_write_seconds": (
        "Of these, time in the online store",
        lambda status: status.write_ms / 1e3,
    ),
    "qianmian_stream_items_waiting": (
        "Items with events that their statistics do not hold yet",
        lambda status: status.items_waiting,
    ),
    "qianmian_stream_orders_undecided": (
        "Orders since the stream process started of which nobody knew any more what was shown",
        lambda status: status.orders_undecided,
    ),
}


class StreamWatch:
    """The last status of the stream process."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time) -> None:
        """`clock` is the machine's."""
        self._clock = clock
        self._status: StreamStatus | None = None
        up = Gauge("qianmian_stream_up", "1 while the stream process runs", registry=registry)
        up.set_function(lambda: float(self.state == "running"))
        for name, (about, value) in _GAUGES.items():
            gauge = Gauge(name, about, registry=registry)
            gauge.set_function(partial(self._read, value))

    def take(self, changes: Sequence[Change]) -> None:
        """Take in what the stream said last."""
        for change in changes:
            if change.key == STATUS_KEY and change.value is not None:
                self._status = StreamStatus.model_validate_json(change.value)

    def _read(self, value: Callable[[StreamStatus], float]) -> float:
        return value(self._status) if self._status is not None else 0.0

    @property
    def state(self) -> str:
        """`running`, `stopped` in order, `silent` for no word lately, or `never`."""
        if self._status is None:
            return "never"
        if not self._status.running:
            return "stopped"
        return "running" if self._status.is_live(self._clock()) else "silent"

"""What a replica tells of the stream process."""

import pytest
from prometheus_client import CollectorRegistry

from qianmian.events.changes import Change
from qianmian.stream.status import STALE_SECONDS, STATUS_KEY, StreamStatus
from serving.stream_watch import StreamWatch

THEN = 1_000.0


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def watch(registry):
    return StreamWatch(registry, clock=lambda: THEN + 1.0)


def said(**fields):
    status = StreamStatus(pid=7, started_at=0.0, **{"updated_at": THEN, **fields})
    return [Change("stream", STATUS_KEY, status.model_dump_json().encode())]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "running"),
        ({"running": False}, "stopped"),
        ({"updated_at": THEN - STALE_SECONDS}, "silent"),
    ],
)
def test_states(watch, registry, fields, state):
    assert watch.state == "never"
    watch.take(said(**fields))
    assert watch.state == state
    assert registry.get_sample_value("qianmian_stream_up") == float(state == "running")


def test_the_last_word_counts(watch, registry):
    assert registry.get_sample_value("qianmian_stream_lag_events") == 0.0
    watch.take(said(lag_events=90, lag_seconds=2.5))
    watch.take(said(lag_events=3, lag_seconds=0.5, batch_ms=250.0))
    assert registry.get_sample_value("qianmian_stream_lag_events") == 3.0
    assert registry.get_sample_value("qianmian_stream_lag_seconds") == 0.5
    assert registry.get_sample_value("qianmian_stream_batch_seconds") == 0.25

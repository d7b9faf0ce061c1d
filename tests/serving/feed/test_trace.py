"""What a request went through: fallbacks are noted once, and told in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from qianmian.errors import EventStoreError
from serving.feed.trace import Trace


def out() -> None:
    """Fail as a store does that is out: with what its driver said behind it."""
    raise EventStoreError("gone") from OSError("refused")


def broken() -> None:
    raise RuntimeError("gone")


@pytest.mark.parametrize(("step", "places"), [(out, False), (broken, True)])
def test_the_log_says_where_what_nobody_foresaw_came_from(
    caplog: pytest.LogCaptureFixture, step: Callable[[], None], *, places: bool
) -> None:
    trace = Trace()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert trace.attempt("no_store", step, lambda: None) is None
    assert trace.degraded == ["no_store"]
    assert "no_store" in caplog.text
    assert "gone" in caplog.text
    assert ("Traceback" in caplog.text) is places

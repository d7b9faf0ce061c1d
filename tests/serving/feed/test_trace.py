"""What a request went through: fallbacks are noted once, and told in the log."""

from __future__ import annotations

import logging

import pytest

from qianmian.errors import EventStoreError
from serving.feed.trace import Trace


def failing(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "lines"), [(EventStoreError("gone"), False), (RuntimeError("gone"), True)]
)
def test_the_log_says_where_what_nobody_foresaw_came_from(
    caplog: pytest.LogCaptureFixture, error: Exception, *, lines: bool
) -> None:
    trace = Trace()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert trace.attempt("no_store", lambda: failing(error), lambda: None) is None
    assert trace.degraded == ["no_store"]
    assert "no_store" in caplog.text
    assert "gone" in caplog.text
    assert ("Traceback" in caplog.text) is lines

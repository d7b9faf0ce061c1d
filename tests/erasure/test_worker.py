"""The thread of erasures goes on, whatever a store raised."""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import cast

import pytest

from qianmian.erasure.job import Erasures, Worker


class Busy:
    """Erasures whose online store is locked at first."""

    def __init__(self) -> None:
        self.tries = 0
        self.done = threading.Event()

    def run(self) -> bool:
        self.tries += 1
        if self.tries == 1:
            raise sqlite3.OperationalError("database is locked: anna")
        self.done.set()
        return True


def test_a_store_that_is_busy_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy()
    worker = Worker(cast("Erasures", busy), every=0.01)
    with caplog.at_level(logging.WARNING):
        worker.start()
        assert busy.done.wait(5.0)
        worker.stop()
    assert "trying again: OperationalError" in caplog.text
    assert "anna" not in caplog.text

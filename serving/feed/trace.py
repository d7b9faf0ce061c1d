"""What one request went through: time by stage, fallbacks, removed candidates.

`Trace.attempt` is the one place where an unexpected failure of a stage is caught: it is logged
with its traceback (of a store that is out with its message; without ids of people), stands in the
answer's `degraded`, is counted, and the stage's plain fallback takes over, so a page is never
refused because one model or store failed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from qianmian.errors import EventStoreError, FeatureStoreError
from qianmian.identity.untold import struck

T = TypeVar("T")
log = logging.getLogger(__name__)


class Trace:
    """The record of one request."""

    def __init__(self, elapsed: Callable[[], float] = perf_counter) -> None:
        self.degraded: list[str] = []
        self.removed: Counter[str] = Counter()
        self.timing_ms: dict[str, float] = {}
        self.ids: tuple[str | None, ...] = ()  # of people, which no log may hold
        self._elapsed = elapsed
        self._began = self._mark = elapsed()

    def anew(self) -> Trace:
        """Return an empty record of the same request; its time goes on."""
        anew = Trace(self._elapsed)
        anew.ids, anew._began = self.ids, self._began
        return anew

    def stage(self, name: str) -> None:
        """Book the time since the stage before under this name."""
        now = self._elapsed()
        self.timing_ms[name] = round((now - self._mark) * 1e3, 3)
        self._mark = now

    def total(self) -> float:
        """Book and return the time of the whole request so far, in milliseconds."""
        total = self.timing_ms["total"] = round((self._elapsed() - self._began) * 1e3, 3)
        return total

    def degrade(self, reason: str) -> None:
        """Note a fallback; each stands once in the answer."""
        if reason not in self.degraded:
            self.degraded.append(reason)

    def attempt(self, reason: str, step: Callable[[], T], fallback: Callable[[], T]) -> T:
        """Return what `step` gives or, if it fails, note `reason` and give the fallback.

        Of a store that is out the log has the message alone, for each page has one.
        """
        try:
            return step()
        except Exception as error:  # noqa: BLE001  # whatever a model, store or driver raises
            foreseen = isinstance(error, (EventStoreError, FeatureStoreError))
            log.warning("fell back: %s\n%s", reason, struck(error, self.ids, places=not foreseen))
            self.degrade(reason)
            return fallback()

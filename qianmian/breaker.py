"""A breaker: leaves a store alone that failed or was too slow, until one reader finds it well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from qianmian.errors import EventStoreError, QianmianError


class Breaker:
    """Says whether a store may be asked; safe for several threads.

    Once it tripped, nobody asks for `pause` seconds. Then one does, alone, and if that is answered
    before it trips again, everybody may.
    """

    def __init__(
        self,
        *,
        pause: float,
        failure: type[QianmianError] = EventStoreError,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`pause` is in seconds; an error of the kind `failure` trips, and no other."""
        self._pause = pause
        self._failure = failure
        self._clock = clock
        self._lock = threading.Lock()
        self._why: str | None = None  # it tripped, while this is set
        self._trips = 0
        self._retry_at = 0.0
        self._trying = False

    @property
    def why(self) -> str | None:
        """Why the store is out, None while it is well."""
        return self._why

    @property
    def resting(self) -> bool:
        """Whether the store is to be left alone now."""
        return self._why is not None and (self._trying or self._clock() < self._retry_at)

    def trip(self, why: str) -> None:
        """Have the store left alone from now on."""
        with self._lock:
            self._why = why
            self._trips += 1
            self._retry_at = self._clock() + self._pause

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask the store something; a failure trips.

        Raises the failure, and one like it where the store is left alone.
        """
        with self._lock:
            if self.resting:
                raise self._failure(f"{self._why}; not asked again yet")
            trips = self._trips
            alone = self._why is not None
            if alone:
                self._trying = True
        try:
            yield
        except self._failure as error:
            self.trip(str(error))
            raise
        else:
            with self._lock:
                if trips == self._trips:
                    self._why = None
        finally:
            if alone:
                self._trying = False

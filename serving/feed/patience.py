"""Reads that a page waits for, of a store that may hang: whoever waited in vain spares the others.

A replica answers all its pages on one thread, and reads a shopper's features on it. Where the
online store is a server, its client gives up after its `socket_timeout`; without more, a store that
hangs would cost that long for each page of a shopper who is not remembered, one after the other.
What fails at once costs nobody anything, and may be the fault of one shopper's row: it does not
count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from qianmian.breaker import Breaker
from qianmian.errors import FeatureStoreError

#: A read that fails after so long has held up a page.
PATIENCE_SECONDS: Final = 0.05
#: How long the store is left alone then.
PAUSE_SECONDS: Final = 5.0


class _LateError(FeatureStoreError):
    """A read failed after others could have waited for it."""


Read = Callable[[str], Mapping[str, object] | None]


def patient(
    read: Read,
    *,
    patience: float = PATIENCE_SECONDS,
    pause: float = PAUSE_SECONDS,
    clock: Callable[[], float] = monotonic,
) -> Read:
    """Return `read`, which raises at once for `pause` seconds after it failed late.

    Raises:
        FeatureStoreError: the store did not answer in time, now or a moment ago.
    """
    breaker = Breaker(pause=pause, failure=_LateError, clock=clock)

    def guarded(user_id: str) -> Mapping[str, object] | None:
        with breaker.asking():
            began = clock()
            try:
                return read(user_id)
            except Exception as error:
                waited = clock() - began
                if waited < patience:
                    raise
                # The next pages repeat this, so it names the kind alone: a message may hold an id.
                kind = type(error).__name__
                raise _LateError(f"the online store: {kind} after {waited:.2f} s") from error

    return guarded

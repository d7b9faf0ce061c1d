"""The keys of a running service: their file is looked at, and a changed ring is taken over.

keys = KeyWatch(settings.keys(), on_failure=metrics.failed, on_change=attribute.forget)
signer = Signer(keys.seal, dataset=...)
keys.refresh()                  # now and then; a token of an unknown key asks by itself
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from qianmian.errors import ConfigError
from serving.feed.keys import KeyFile, KeyRing
from serving.feed.seal import Seal

log = logging.getLogger(__name__)


class KeyWatch:
    """Keeps a seal on the keys of their file."""

    def __init__(
        self,
        keys: KeyFile,
        *,
        on_failure: Callable[[str], object],
        on_change: Callable[[], object],
    ) -> None:
        """Read the keys.

        Args:
            keys: their file.
            on_failure: counts a reason (`FeedMetrics.failed`).
            on_change: forgets what a retired key signed.

        Raises:
            ConfigError: the file does not hold a key ring.
        """
        self._keys = keys
        self._on_failure = on_failure
        self._on_change = on_change
        self._seen = keys.stamp()
        self.seal = Seal(keys.ring, reread=self._changed)

    def refresh(self) -> None:
        """Take over a changed ring; costs a `stat` if nothing did."""
        ring = self._changed()
        if ring is not None:
            self.seal.take(ring)
            self._on_change()  # requests may have opened tokens by the ring before meanwhile

    def _changed(self) -> KeyRing | None:
        """Return the ring where its file changed since it was read; a broken one is left alone."""
        stamp = self._keys.stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        self._on_change()
        try:
            return self._keys.ring
        except ConfigError as error:
            log.warning("keys refused, going on with those before: %s", error)
            self._on_failure("keys_refused")
            return None

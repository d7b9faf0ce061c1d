"""A retired key opens nothing from the moment on that the ring without it is taken over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.feed.keys import KeyFile, KeyRing
from serving.feed.seal import BadTokenError
from serving.key_watch import KeyWatch

NOW = datetime(2017, 12, 5, tzinfo=UTC)


def test_what_was_opened_while_the_ring_was_read_anew_is_forgotten_too(tmp_path: Path) -> None:
    opened: dict[str, bytes] = {}

    class Slow(KeyFile):
        """A ring that takes so long to read that a request comes in between."""

        @property
        def ring(self) -> KeyRing:
            found = super().ring
            if token:
                opened[token] = watch.seal.open(b"test", token)
            return found

    token = ""
    keys = Slow(tmp_path / "keys.json")
    watch = KeyWatch(keys, on_failure=lambda _: None, on_change=opened.clear)
    token = watch.seal.close(b"test", b"payload")
    first = KeyFile(keys.path).ring.active.id
    KeyFile(keys.path).rotate(at=NOW, retire_before=datetime(2000, 1, 1, tzinfo=UTC))
    KeyFile(keys.path).retire(first)
    watch.refresh()
    assert opened == {}
    with pytest.raises(BadTokenError, match="retired"):
        watch.seal.open(b"test", token)

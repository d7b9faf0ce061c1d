"""Compacted topics behind one protocol: how a fact reaches every replica within moments.

A topic holds the newest value of each key. Who joins late reads from 0 and gets each key once, with
its newest value; who follows gets what changed since. The names are `qianmian.contracts.topics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Change(NamedTuple):
    """The newest value of a key; None where the key was deleted."""

    topic: str
    key: str
    value: bytes | None


class Changes(Protocol):
    """Topics of keys and values, safe for several threads and processes.

    Every method raises `EventStoreError` when the engine behind it cannot do its work now.
    """

    def put(self, topic: str, values: Mapping[str, bytes | None]) -> None:
        """Set keys of a topic, all in one step and durably; None deletes a key."""

    def swap(self, topic: str, key: str, *, expected: bytes | None, value: bytes | None) -> bool:
        """Set a key if it holds what is expected (None: nothing), in one step and durably.

        Returns whether it did.
        """

    def value(self, topic: str, key: str) -> bytes | None:
        """Return what a key holds, None where it holds nothing."""

    def purge(self, topic: str, keys: Sequence[str]) -> int:
        """Remove keys without a trace, their bytes included; returns how many there were.

        Who follows the topic is not told: delete them first, and give it time to learn of that.
        """

    def drop(self, topic: str, keys: Sequence[str]) -> None:
        """Remove keys of a topic whose followers need not be told; `purge` cares for bytes, too."""

    def since(self, cursor: int, limit: int = 10_000) -> tuple[list[Change], int]:
        """Return up to `limit` changes behind a cursor, oldest first, and the next cursor.

        A key that changed several times comes once, where it changed last. 0 is the beginning.
        """

    def get(self, topic: str) -> dict[str, bytes]:
        """Return the keys of a topic that hold a value."""

    def close(self) -> None:
        """Give back connections; the topics must not be used afterwards."""

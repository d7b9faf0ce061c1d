"""Which devices count as which user: the merges as everyone who needs them keeps them in memory.

The truth is the topic `identity`; the door, the request path and the stream each follow it with an
`Identity` of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

import orjson

from qianmian.contracts import topics
from qianmian.events.changes import Change, Changes


class Merge(NamedTuple):
    """A visitor that counts as a user."""

    user_id: str
    merged_at: float  # seconds since the epoch, by the machine's clock

    def to_bytes(self) -> bytes:
        """Return the merge as a value of the topic."""
        return orjson.dumps(tuple(self))

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Read a value of the topic."""
        return cls(*orjson.loads(value))


class Identity:
    """Merges of visitors into users; reading is safe while another thread applies changes."""

    def __init__(self) -> None:
        self._user_of: dict[str, str] = {}
        self._visitors_of: dict[str, frozenset[str]] = {}

    @classmethod
    def load(cls, changes: Changes) -> Identity:
        """Return the merges as they are now.

        Raises:
            EventStoreError: the engine does not answer.
        """
        identity = cls()
        for visitor, value in changes.get(topics.IDENTITY).items():
            identity.set(visitor, Merge.from_bytes(value).user_id)
        return identity

    def __len__(self) -> int:
        return len(self._user_of)

    def canonical(self, subject_id: str) -> str:
        """Return as whom a subject counts: the user of a merged visitor, else the subject."""
        return self._user_of.get(subject_id, subject_id)

    def owners(self) -> dict[str, str]:
        """Return the merged visitors, each with the user as whom it counts."""
        return dict(self._user_of)

    def members(self, subject_id: str) -> list[str]:
        """Return all subjects that count as one, itself first."""
        return [subject_id, *sorted(self._visitors_of.get(subject_id, ()))]

    def apply(self, changes: Iterable[Change]) -> set[str]:
        """Take in changes of the topic; returns the subjects whose history is another now."""
        merges = [  # all of them are read before the first counts
            (change.key, None if change.value is None else Merge.from_bytes(change.value).user_id)
            for change in changes
        ]
        return set[str]().union(*(self.set(visitor, user_id) for visitor, user_id in merges))

    def set(self, visitor: str, user_id: str | None) -> set[str]:
        """Let a visitor (its subject id) count as a user, or as itself again.

        Returns the subjects whose history is another now.
        """
        before = self._user_of.get(visitor)
        if before == user_id:
            return set()
        if before is not None:
            self._visitors_of[before] -= {visitor}
        if user_id is None:
            del self._user_of[visitor]
        else:
            self._user_of[visitor] = user_id
            self._visitors_of[user_id] = self._visitors_of.get(user_id, frozenset()) | {visitor}
        return {one for one in (before, user_id, visitor) if one is not None}

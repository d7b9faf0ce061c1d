"""Merging a visitor into a user, and taking that back within a grace period.

A merge is one entry of the topic `identity`, written by compare-and-set, so that two replicas can
never merge one visitor into two users. Nothing else is touched: events keep the subject they were
accepted with, and whoever asks for a user's history asks for that of its visitors, too. That is
what makes a merge reversible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from qianmian.contracts import topics
from qianmian.contracts.subjects import visitor_subject
from qianmian.errors import ConflictError, NotFoundError
from qianmian.events.changes import Changes
from qianmian.identity.mapping import Merge

DAY: Final = 86_400.0


class Merged(NamedTuple):
    """What came of a merge."""

    merge: Merge
    new: bool  # False where the visitor was merged into this user before


class Merger:
    """Merges visitors into users; ids are as they are stored."""

    def __init__(
        self, changes: Changes, *, grace_seconds: float, clock: Callable[[], float]
    ) -> None:
        """`clock` gives seconds since the epoch by the machine's clock."""
        self._changes = changes
        self._grace = grace_seconds
        self._clock = clock

    def reversible_until(self, merge: Merge) -> float:
        """Return until when a merge can be taken back, in seconds since the epoch."""
        return merge.merged_at + self._grace

    def merge(self, visitor_id: str, user_id: str) -> Merged:
        """Let a visitor count as a user, durably; done before, it changes nothing.

        Raises:
            ConflictError: the visitor is merged into another user.
            EventStoreError: the engine does not answer.
        """
        visitor = visitor_subject(visitor_id)
        merge = Merge(user_id, self._clock())
        while not self._changes.swap(
            topics.IDENTITY, visitor, expected=None, value=merge.to_bytes()
        ):
            found = self._of(visitor)
            if found is None:
                continue  # taken back at this very moment: try again
            if found.user_id == user_id:
                return Merged(found, new=False)
            raise ConflictError(
                "merged-elsewhere",
                "visitor_id: expected a visitor that is merged into no other user; "
                "take that merge back with POST /v1/users:unmerge first",
            )
        return Merged(merge, new=True)

    def unmerge(self, visitor_id: str) -> Merge:
        """Let a visitor count as itself again; returns the merge that was.

        Raises:
            NotFoundError: the visitor is merged into no user.
            ConflictError: the merge is older than the grace period.
            EventStoreError: the engine does not answer.
        """
        visitor = visitor_subject(visitor_id)
        while True:
            found = self._of(visitor)
            if found is None:
                raise NotFoundError(
                    "merge", "of this visitor", (), "only a merged visitor can be taken apart"
                )
            if self._clock() > self.reversible_until(found):
                raise ConflictError(
                    "grace-period-over",
                    f"visitor_id: expected a merge of the last {self._grace / DAY:g} days; "
                    "it is final now",
                )
            if self._changes.swap(topics.IDENTITY, visitor, expected=found.to_bytes(), value=None):
                return found

    def _of(self, visitor: str) -> Merge | None:
        value = self._changes.value(topics.IDENTITY, visitor)
        return None if value is None else Merge.from_bytes(value)

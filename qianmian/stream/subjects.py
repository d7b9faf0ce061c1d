"""Which devices count as which user: the merges, as the stream needs them.

A merged visitor's events are the user's from the moment of the merge, those of before included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from qianmian.contracts import topics
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent


class Subjects:
    """Merges of visitors into users. One thread at a time."""

    def __init__(self) -> None:
        self._owner: dict[str, str] = {}
        self._members: dict[str, set[str]] = {}

    def canonical(self, subject_id: str) -> str:
        """Return the subject as whom a subject counts."""
        return self._owner.get(subject_id, subject_id)

    def members(self, subject_id: str) -> list[str]:
        """Return all subjects that count as one, itself first."""
        return [subject_id, *sorted(self._members.get(subject_id, ()))]

    def merge(self, visitor: str, user: str | None) -> set[str]:
        """Let a visitor count as a user, or as itself again; returns whose features change."""
        before = self._owner.pop(visitor, None)
        if before is not None:
            self._members[before].discard(visitor)
        if user is not None and user != visitor:
            self._owner[visitor] = user
            self._members.setdefault(user, set()).add(visitor)
        return {one for one in (before, user) if one is not None}


class SubjectPart:
    """Follows the topic of merges (`stream.part.Part`)."""

    def __init__(
        self,
        subjects: Subjects,
        changes: Changes,
        *,
        recompute: Callable[[Iterable[str]], None],
        every: float = 0.5,
    ) -> None:
        """Look every so many seconds; `recompute` is given the users that events came to."""
        self._subjects = subjects
        self._changes = changes
        self._recompute = recompute
        self._every = every
        self._cursor = 0
        self._next = 0.0

    def follow(self) -> set[str]:
        """Take in what was merged since the last look; returns whose features change."""
        changed: set[str] = set()
        while True:
            page, cursor = self._changes.since(self._cursor)
            if not page:
                return changed
            for change in page:
                if change.topic == topics.IDENTITY:
                    user = None if change.value is None else change.value.decode()
                    changed |= self._subjects.merge(change.key, user)
            self._cursor = cursor

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: merges are not made of events."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: merges are not made of events."""

    def flush(self, now: float) -> None:  # noqa: ARG002
        if monotonic() < self._next:
            return
        self._next = monotonic() + self._every
        if changed := self.follow():
            self._recompute(changed)

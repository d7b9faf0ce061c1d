"""The part of the stream that follows who people are: merged, taken apart, forgotten.

A merged visitor's events are the user's from the moment of the merge, those of before included;
taken apart, each has its own again. Of somebody who is erased the stream drops what it holds in
memory, and says so once nothing that was under way can write it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Final

from qianmian.contracts import topics
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent
from qianmian.identity.mapping import Identity, Merge
from qianmian.stream.part import Keeper

#: What `topics.ERASING` holds.
ASKED: Final = b"asked"
FORGOT: Final = b"forgot"


class SubjectPart:
    """Follows the topic of merges (`stream.part.Part`)."""

    def __init__(
        self,
        identity: Identity,
        changes: Changes,
        *,
        recompute: Callable[[Collection[str]], None],
        keepers: Sequence[Keeper],
        every: float = 0.5,
    ) -> None:
        """Look every so many seconds.

        `recompute` is given the subjects whose history changed, `keepers` drop those erased.
        """
        self._keepers = keepers
        self._forgotten: set[str] = set()
        self._identity = identity
        self._changes = changes
        self._recompute = recompute
        self._every = every
        self._cursor = 0
        self._changed: set[str] = set()  # seen, and not returned yet
        self._next = 0.0

    def follow(self) -> set[str]:
        """Take in what was merged since the last look; returns whose history changed."""
        while True:
            page, cursor = self._changes.since(self._cursor)
            if not page:
                changed, self._changed = self._changed, set()
                return changed
            erased = {c.key for c in page if c.topic == topics.ERASING and c.value == ASKED}
            merges = [change for change in page if change.topic == topics.IDENTITY]
            self._changed |= self._identity.apply(merges)
            self._changed -= erased
            self._drop(erased)
            self._cursor = cursor

    def merged_since(self, moment: float) -> list[str]:
        """Return the visitors merged at a moment (by the machine's clock) or later."""
        merges = self._changes.get(topics.IDENTITY).items()
        return [one for one, value in merges if Merge.from_bytes(value).merged_at >= moment]

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: merges are not made of events."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: merges are not made of events."""

    def flush(self, now: float) -> None:  # noqa: ARG002
        for subject in sorted(self._forgotten):  # a whole step has passed since
            self._changes.swap(topics.ERASING, subject, expected=ASKED, value=FORGOT)
        self._forgotten.clear()
        if monotonic() < self._next:
            return
        self._next = monotonic() + self._every
        if changed := self.follow():
            self._recompute(changed)

    def _drop(self, subject_ids: set[str]) -> None:
        if subject_ids:
            for keeper in self._keepers:
                keeper.forget(subject_ids)
            self._forgotten |= subject_ids

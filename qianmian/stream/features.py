"""The part of the stream that keeps online features fresh.

Events go into the history; the subjects they touch are computed anew and written to Feast's online
store; then the replicas are told whose features changed, and read them at the next request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from time import monotonic

import orjson

from qianmian.contracts import topics
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent
from qianmian.identity.mapping import Identity
from qianmian.stream.history import History
from qianmian.stream.users import Flushed, UserFeatures


class FeaturePart:
    """User features from events (`stream.part.Part`)."""

    def __init__(
        self,
        history: History,
        users: UserFeatures,
        identity: Identity,
        changes: Changes,
        *,
        at_once: int,
    ) -> None:
        """`at_once` subjects are computed and written together."""
        self._history = history
        self._users = users
        self._identity = identity
        self._changes = changes
        self._at_once = at_once
        self._newest: dict[str, float] = {}  # subject with events of the service -> its newest
        self._unannounced: Flushed | None = None
        self.computed = 0  # subjects, since the start
        self.rows = 0  # written, since the start
        self.batch = 0  # subjects of the last batch
        self.batch_seconds = 0.0  # which it took
        self.write_seconds = 0.0  # of these, in the online store

    def remember(self, newest: Iterable[tuple[str, float]]) -> None:
        """Know of subjects with archived events, each with the time of its newest one."""
        for subject_id, at in newest:
            self._newest[subject_id] = max(at, self._newest.get(subject_id, at))

    def restore(self, events: Sequence[StoredEvent]) -> None:
        self._history.add(events)
        self.remember((event.subject_id, event.timestamp) for event in events)

    def take(self, events: Sequence[StoredEvent]) -> None:
        self.restore(events)
        for event in events:
            subject_id = self._identity.canonical(event.subject_id)
            self._users.touch(event, subject_id, self._newest_of(subject_id))

    def recompute(self, subject_ids: Iterable[str]) -> None:
        """Have all views of some subjects computed at the next flush."""
        for subject_id in dict.fromkeys(map(self._identity.canonical, subject_ids)):
            self._users.recompute(subject_id, self._newest_of(subject_id))

    def forget(self, subject_ids: Collection[str]) -> None:
        """Drop all that is held of some subjects (`stream.part.Keeper`)."""
        self._history.forget(subject_ids)
        self._users.drop(subject_ids)
        for subject_id in subject_ids:
            self._newest.pop(subject_id, None)

    def recompute_since(self, moment: float, others: Iterable[str]) -> None:
        """Recompute some subjects, and all with an event of the service at a moment or later."""
        self.recompute([*(one for one, at in self._newest.items() if at >= moment), *others])

    def flush(self, now: float) -> None:
        self._announce()
        while len(self._users):
            began = monotonic()
            self._unannounced = flushed = self._users.flush(now, self._at_once)
            self._announce()
            self.batch, self.batch_seconds = len(flushed.subjects), monotonic() - began
            self.write_seconds = flushed.write_seconds
            self.computed += self.batch
            self.rows += sum(flushed.rows.values())

    def _newest_of(self, subject_id: str) -> float:
        members = self._identity.members(subject_id)
        return max(self._newest.get(member, 0.0) for member in members)

    def _announce(self) -> None:
        """Tell the replicas; what could not be told is told before anything else."""
        if self._unannounced is not None:
            as_of = orjson.dumps(self._unannounced.as_of)
            self._changes.put(topics.USERS, dict.fromkeys(self._unannounced.subjects, as_of))
            self._unannounced = None

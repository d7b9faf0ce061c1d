"""The part of the stream that says which events are not to be trusted.

Flags stand in a table beside the log (`qianmian events flags`); training judges the archive anew by
the same function, so the table is for people and for whoever must know at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from qianmian.contracts import columns as c
from qianmian.data.archive import Archive
from qianmian.events.event import StoredEvent
from qianmian.trust.flags import TRUST_COLUMNS
from qianmian.trust.monitor import TrustMonitor
from qianmian.trust.rules import TrustRules
from qianmian.trust.store import FlagStore
from qianmian.trust.traffic import Seen, seen_in


class TrustPart:
    """Flags of implausible events (`stream.part.Part`)."""

    def __init__(self, rules: TrustRules, flags: FlagStore) -> None:
        self._monitor = TrustMonitor(rules)
        self._reach = rules.memory_seconds
        self._flags = flags
        self._waiting: list[Seen] = []
        self.undecided = 0
        """Orders since the start of which it was not known any more what had been shown."""

    def remember(self, archive: Archive) -> None:
        """Take in what left the log for the archive, as far back as the monitor remembers."""
        parts = archive.manifest().parts
        if not parts:
            return
        since = max(part.last_at for part in parts) - 2 * self._reach
        rows = archive.read(TRUST_COLUMNS, since=since)
        if rows is not None:
            by_time = rows.sort_by(c.TIMESTAMP)  # the oldest are forgotten first
            self._monitor.remember(seen_in(by_time.to_pandas()), since=since)

    def restore(self, events: Sequence[StoredEvent]) -> None:
        self._monitor.remember(map(Seen.of, events))

    def take(self, events: Sequence[StoredEvent]) -> None:
        self._waiting += map(Seen.of, events)

    def flush(self, now: float) -> None:
        del now
        if self._waiting:
            verdict = self._monitor.judge(self._waiting)
            self._flags.settle(verdict)
            self.undecided += verdict.undecided
            self._waiting.clear()

    def forget(self, subject_ids: Collection[str]) -> None:
        """Drop all that is held of some subjects (`stream.part.Keeper`)."""
        self._waiting = [seen for seen in self._waiting if seen.subject not in subject_ids]
        self._monitor.forget(subject_ids)

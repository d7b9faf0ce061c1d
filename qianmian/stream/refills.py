"""Notices that the online store was filled anew, and has later events worked in again.

`qianmian features build` and `materialize` write the features of a snapshot over those of the
stream. What that snapshot lacks is then computed again, at once: what happened after its moment,
and what was not archived yet when it was built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Final

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.data.archive import Archive
from qianmian.events.event import StoredEvent
from qianmian.events.store import BEGINNING, EventStore
from qianmian.features.materialize import MATERIALIZED_FILE, Held, read_held
from qianmian.workspace import Workspace

_PAGE: Final = 10_000


class RefillPart:
    """Follows the fillings of the online store (`stream.part.Part`)."""

    def __init__(
        self,
        workspace: Workspace,
        events: EventStore,
        archive: Archive,
        *,
        recompute_since: Callable[[float, Iterable[str]], None],
        every: float = 1.0,
    ) -> None:
        """Look every so many seconds.

        `recompute_since` is given the snapshot's moment, and the subjects of events that were not
        archived when it was built.
        """
        self._workspace = workspace
        self._log = events
        self._archive = archive
        self._recompute_since = recompute_since
        self._every = every
        self._next = 0.0
        self.stamp = ""

    def start(self, stamp: str | None) -> None:
        """Go on from the filling that the stream worked on last, None where it never ran."""
        self.stamp = self._read() if stamp is None else stamp

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: the features know whose events there are."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Nothing: the features know whose events there are."""

    def flush(self, now: float) -> None:  # noqa: ARG002
        if monotonic() < self._next:
            return
        self._next = monotonic() + self._every
        stamp = self._read()
        if stamp == self.stamp:
            return
        online = self._online()
        moment = min((held.moment for held in online), default=0.0)
        next_part = min((held.next_part for held in online), default=0)
        self._recompute_since(moment, self._behind(next_part))
        self.stamp = stamp

    def _online(self) -> list[Held]:
        """Return what is held of the user views."""
        held = read_held(self._workspace)
        return [held[view] for view in f.USER_VIEWS if view in held]

    def _behind(self, next_part: int) -> set[str]:
        """Return the subjects of the log, and of the archive's parts from a number on."""
        subjects: set[str] = set()
        page, cursor = self._log.read(BEGINNING, _PAGE)
        while page:
            subjects.update(event.subject_id for event in page)
            page, cursor = self._log.read(cursor, _PAGE)
        # Read after the log: events move from there to here.
        rows = self._archive.read([c.USER_ID], from_part=next_part, merged=False)
        if rows is not None:
            subjects.update(rows[c.USER_ID].unique().to_pylist())
        return subjects

    def _read(self) -> str:
        path = self._workspace.feast / MATERIALIZED_FILE
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except FileNotFoundError:
            return ""

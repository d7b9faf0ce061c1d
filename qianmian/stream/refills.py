"""Notices that the online store was filled anew, and has later events worked in again.

`qianmian features build` and `materialize` write the features of a snapshot over those of the
stream. What happened after that snapshot is then computed again, at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from time import monotonic

from qianmian.contracts import features as f
from qianmian.events.event import StoredEvent
from qianmian.features.materialize import MATERIALIZED_FILE, read_held
from qianmian.workspace import Workspace


class RefillPart:
    """Follows the fillings of the online store (`stream.part.Part`)."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        recompute_since: Callable[[float], None],
        every: float = 1.0,
    ) -> None:
        """Look every so many seconds; `recompute_since` is given the snapshot's moment."""
        self._workspace = workspace
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
        self._recompute_since(self._filled_with())
        self.stamp = stamp

    def _filled_with(self) -> float:
        """Return the moment of the oldest user view that is online."""
        held = read_held(self._workspace)
        return min((held[view].moment for view in f.USER_VIEWS if view in held), default=0.0)

    def _read(self) -> str:
        path = self._workspace.feast / MATERIALIZED_FILE
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except FileNotFoundError:
            return ""

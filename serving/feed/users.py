"""Hydration: the one user of a request, read through Feast's online store.

A bounded cache stands in front, because the same shopper asks again within seconds (the next page,
another block); its short time to live bounds how stale a page can be. What was proposed to the user
is remembered with the user, and so are the probabilities that the ranker gave it, so further pages
rank the same candidates by the same chances; blending and order are made anew for each request.
States belong to a release (they hold item indices), so the release is part of the key and a swap
starts afresh.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float32
from qianmian.features.user_state import UserState
from qianmian.retrieval.sources import Candidates
from serving.feed.resident import ResidentRelease

Row = Mapping[str, object]
Bits = npt.NDArray[np.uint8]
_Asked = tuple[Hashable, ...]  # pool, quotas, candidates ranked, conditions, region
_PROPOSALS: Final = 16  # remembered for a user
_OF_NOBODY: Final = 256  # remembered for all whom nobody knows, wherever they are
_NOBODY: Final = ""


@dataclass(slots=True)
class Proposal:
    """Candidates of one user in one venue, and what ranking has made of them so far."""

    candidates: Candidates
    by_source: Mapping[str, int]  # as proposed, before filters
    removed: Counter[str] = field(default_factory=Counter)  # by filters, with the reason
    degraded: str | None = None  # the fallback it comes from, which each answer tells
    probabilities: Float32 | None = None  # [N, A], once the ranker scored them
    by_popularity: bool = False  # the candidates stand in an order of their own
    closed: Bits | None = None  # what might not be shown then, packed [n / 8]; None for nothing


class HydratedUser:
    """A user's state with what was proposed to it, by what was asked for."""

    __slots__ = ("_most", "_proposed", "offered", "state")

    def __init__(self, state: UserState, *, proposals: int = _PROPOSALS) -> None:
        """At most `proposals` are remembered, those that were asked for last."""
        self.state = state
        self.offered: tuple[Hashable, Float32] | None = None  # chances of sponsored items
        self._most = proposals
        self._proposed: OrderedDict[_Asked, Proposal] = OrderedDict()

    def proposal(
        self,
        asked: _Asked,
        propose: Callable[[], Proposal],
        good: Callable[[Proposal], bool] = lambda _: True,
    ) -> Proposal:
        """Return what was proposed before if it is still good, or propose now.

        Nothing is kept if that fails.
        """
        proposal = self._proposed.get(asked)
        if proposal is None or not good(proposal):
            proposal = self._proposed[asked] = propose()
            if len(self._proposed) > self._most:
                self._proposed.popitem(last=False)
        self._proposed.move_to_end(asked)
        return proposal


class Users:
    """Reads users, at most `size` of them remembered for `ttl` seconds each."""

    def __init__(
        self,
        read: Callable[[str], Row | None],
        *,
        size: int,
        ttl: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`read` gives the online row of a user, or None for an unknown one."""
        self._read = read
        self._size = size
        self._ttl = ttl
        self._clock = clock
        self._forgotten = 0
        self._kept: OrderedDict[tuple[str, str], tuple[float, HydratedUser]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def user(self, user_id: str, release: ResidentRelease) -> HydratedUser:
        """Return a user as this release sees it.

        Raises whatever the online store raises; nothing is remembered then.
        """
        kept = self._recall(user_id, release)
        if kept is not None:
            self.hits += 1
            return kept
        self.misses += 1
        forgotten = self._forgotten
        state = release.bundle.user_state(user_id, self._read(user_id))
        user = self._keep(user_id, release, HydratedUser(state))
        if self._forgotten != forgotten:  # perhaps this one, after it was read
            self._kept.pop((release.id, user_id), None)
        return user

    def nobody(self, release: ResidentRelease) -> HydratedUser:
        """Return the user of whom nothing is known."""
        kept = self._recall(_NOBODY, release)
        if kept is not None:
            return kept
        user = HydratedUser(release.bundle.user_state(_NOBODY, None), proposals=_OF_NOBODY)
        return self._keep(_NOBODY, release, user)

    def forget(self, user_ids: Iterable[str]) -> None:
        """Drop some users, whose features changed; any thread may call this."""
        self._forgotten += 1
        releases = {release_id for release_id, _ in self._kept.copy()}
        for user_id in user_ids:
            for release_id in releases:
                self._kept.pop((release_id, user_id), None)

    def forget_all(self) -> None:
        """Drop every remembered user."""
        self._forgotten += 1
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _recall(self, user_id: str, release: ResidentRelease) -> HydratedUser | None:
        key = (release.id, user_id)
        kept = self._kept.get(key)
        if kept is None or self._clock() >= kept[0]:
            return None
        with suppress(KeyError):  # forgotten by the listener at this very moment
            self._kept.move_to_end(key)
        return kept[1]

    def _keep(self, user_id: str, release: ResidentRelease, user: HydratedUser) -> HydratedUser:
        key = (release.id, user_id)
        self._kept.pop(key, None)
        self._kept[key] = (self._clock() + self._ttl, user)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return user

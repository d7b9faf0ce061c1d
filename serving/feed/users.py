"""Hydration: the one user of a request, read through Feast's online store.

A bounded cache stands in front, because the same shopper asks again within seconds; its short
time to live bounds how stale a page can be. States belong to a release (they hold item indices),
so the release is part of the key and a swap starts afresh.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic

from qianmian.features.user_state import UserState
from serving.feed.resident import ResidentRelease

Row = Mapping[str, object]


class Users:
    """Reads user states, at most `size` of them remembered for `ttl` seconds each."""

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
        self._kept: OrderedDict[tuple[str, str], tuple[float, UserState]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def state(self, user_id: str, release: ResidentRelease) -> UserState:
        """Return the state of a user as this release sees it.

        Raises whatever the online store raises; nothing is remembered then.
        """
        key = (release.id, user_id)
        now = self._clock()
        kept = self._kept.get(key)
        if kept is not None and now < kept[0]:
            self.hits += 1
            self._kept.move_to_end(key)
            return kept[1]
        self.misses += 1
        state = release.bundle.user_state(user_id, self._read(user_id))
        self._kept[key] = (now + self._ttl, state)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return state

    def forget_all(self) -> None:
        """Drop every remembered state."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

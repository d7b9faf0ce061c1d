"""A page of one block: what stands on it, where, and why; and what a block may choose from.

`N` candidates of the ranking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from qianmian.features.item_table import Int32
from serving.feed.filters import (
    EXCLUDED,
    IN_ANOTHER_BLOCK,
    Filter,
    apply,
    meets,
    not_listed,
    not_shown,
)
from serving.feed.listing import Listing
from serving.feed.query import BlockPlan, Query
from serving.feed.resident import ResidentRelease, VenuePool
from serving.feed.tokens import NO_HASHES, Special, UInt32

PINNED: Final = "pinned"

UNRANKED: Final = -1  # row of an item that the ranking does not hold

#: Why an item is not in the fixed slot that it was meant for, besides the reasons of filters.
PLACE_TAKEN: Final = "place_taken"
NO_SUCH_PLACE: Final = "no_such_place"
UNKNOWN_ITEM: Final = "unknown_item"
NOT_IN_POOL: Final = "not_in_pool"


@dataclass(frozen=True, slots=True)
class FixedSlot:
    """An item that stands in a given place, and as what."""

    item: int
    special: Special
    propensity: float = 1.0
    label: str | None = None

    @property
    def kind(self) -> str:
        """Kind of the slot."""
        return self.special.slot


@dataclass(frozen=True, slots=True)
class Skipped:
    """A fixed slot that stayed organic, and why."""

    slot: FixedSlot
    position: int
    reason: str


#: Fixed slots by block and position in the block, from 1.
FixedSlots = Mapping[str, Mapping[int, FixedSlot]]


@dataclass(frozen=True, slots=True)
class Page:
    """What one block shows."""

    plan: BlockPlan
    listing: Listing
    items: list[int]
    rows: list[int]  # of the listing's ranking, UNRANKED for what it does not hold
    more: bool
    removed: Counter[str]
    fixed: Mapping[int, FixedSlot] = field(default_factory=dict)  # by place on this page, from 0
    skipped: Sequence[Skipped] = ()
    propensities: Sequence[float] = ()  # empty: all 1
    before: UInt32 = field(default_factory=lambda: NO_HASHES)  # of the last items; see `PageToken`
    moved_by: Sequence[Sequence[str]] = ()  # rules that moved each item; only when explained
    relaxed: Sequence[str] = ()  # rules that could not hold

    def propensity(self, place: int) -> float:
        """Return the probability with which the item was put in this place, from 0.

        It is that of this block's own draws: given the blocks' order and the sponsored places.
        """
        return self.propensities[place] if self.propensities else 1.0


class Choice:
    """What a block may show: rows of its ranking, then the rest of what it may show at all."""

    __slots__ = ("_pool", "filters", "kept", "listing", "plan", "removed")

    def __init__(
        self,
        plan: BlockPlan,
        query: Query,
        listing: Listing,
        release: ResidentRelease,
        pool: VenuePool,
        taken: Sequence[int] = (),
    ) -> None:
        """`taken` are items of the blocks before."""
        self.plan = plan
        self.listing = listing
        self.filters = filters_of(query, plan, taken, release)
        self.removed = listing.removed.copy()
        self.kept = apply(self.filters, listing.ranking.items, self.removed)  # [N]
        self._pool = pool

    def count(self, enough: int) -> int:
        """Return how many items may be shown here, not to the last one if that is `enough`."""
        ranked = int(np.count_nonzero(self.kept))
        return ranked if ranked >= enough else ranked + len(self.rest())

    def rest(self) -> Int32:
        """Return what else may be shown here, the most popular first."""
        if not self.listing.fills:
            return np.zeros(0, dtype=np.int32)
        left = self.listing.allowed.copy()
        left[self.listing.ranking.items] = False
        rest = self._pool.of_all.items[left[self._pool.of_all.items]]
        return rest[apply(self.filters, rest, Counter())]


def filters_of(
    query: Query, plan: BlockPlan, taken: Sequence[int], release: ResidentRelease
) -> list[Filter]:
    """Return what the request asks of the items of a block, besides what may be shown at all."""
    table = release.bundle.items
    filters = []
    if plan.exclude_item_ids:
        filters.append(not_listed(EXCLUDED, table.indices_of(plan.exclude_item_ids)))
    if len(query.shown):
        filters.append(not_shown(query.shown, release.item_hashes))
    if plan.filter is not None:
        filters.append(meets(plan.filter, table, release.pools[query.venue.id].shelf.price))
    if taken:
        filters.append(not_listed(IN_ANOTHER_BLOCK, np.array(taken, dtype=np.int32)))
    return filters

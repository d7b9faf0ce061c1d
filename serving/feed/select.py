"""Selection: the pages of all blocks from their rankings, no item twice.

Blocks take turns in the order of the request. A block that its ranked candidates cannot fill goes
on with what the shopper may see of the venue's pool, in the order of popularity, so paging ends
where the pool ends, or after `MAX_SHOWN` items. Blocks of some kinds end with their candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qianmian.features.item_table import Int32, ItemTable
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


@dataclass(frozen=True, slots=True)
class Page:
    """What one block shows: rows of the ranking, then items that filled it up."""

    plan: BlockPlan
    listing: Listing
    rows: list[int]
    filled: list[int]
    more: bool
    removed: Counter[str]

    @property
    def items(self) -> list[int]:
        """The item indices in the order of the page."""
        return [*self.listing.ranking.items[self.rows].tolist(), *self.filled]


def select(
    query: Query, listings: Sequence[Listing], release: ResidentRelease, pool: VenuePool
) -> list[Page]:
    """Fill every block of a request, each from its own listing."""
    pages: list[Page] = []
    taken: list[int] = []
    for plan, listing in zip(query.blocks, listings, strict=True):
        filters = _filters(query, plan, taken, release)
        page = _fill(plan, filters, listing, pool)
        taken += page.items
        pages.append(page)
    return pages


def _filters(
    query: Query, plan: BlockPlan, taken: Sequence[int], release: ResidentRelease
) -> list[Filter]:
    table: ItemTable = release.bundle.items
    filters = []
    if plan.exclude_item_ids:
        filters.append(not_listed(EXCLUDED, table.indices_of(plan.exclude_item_ids)))
    if len(query.shown):
        filters.append(not_shown(query.shown, release.item_hashes))
    if plan.filter is not None:
        filters.append(meets(plan.filter, table))
    if taken:
        filters.append(not_listed(IN_ANOTHER_BLOCK, np.array(taken, dtype=np.int32)))
    return filters


def _fill(plan: BlockPlan, filters: list[Filter], listing: Listing, pool: VenuePool) -> Page:
    removed = listing.removed.copy()
    rows = np.flatnonzero(apply(filters, listing.ranking.items, removed))
    page = rows[: plan.page_size].tolist()
    if len(rows) > plan.page_size:
        return Page(plan, listing, page, [], more=True, removed=removed)
    rest = _rest(filters, listing, pool)
    wanted = plan.page_size - len(page)
    filled = rest[:wanted].tolist()
    return Page(plan, listing, page, filled, more=len(rest) > wanted, removed=removed)


def _rest(filters: list[Filter], listing: Listing, pool: VenuePool) -> Int32:
    """Return what else the shopper may see in the block and the filters keep."""
    if not listing.fills:
        return np.zeros(0, dtype=np.int32)
    open_ = listing.allowed.copy()
    open_[listing.ranking.items] = False
    rest = pool.of_all.items[open_[pool.of_all.items]]
    return rest[apply(filters, rest, Counter())]

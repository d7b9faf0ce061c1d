"""Selection: the pages of all blocks from one ranking, no item twice.

Blocks take turns in the order of the request. A block that its ranked candidates cannot fill goes
on with the venue's pool in the order of popularity, so paging ends where the pool ends, or after
`MAX_SHOWN` items.
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
from serving.feed.query import BlockPlan, Query
from serving.feed.resident import ResidentRelease, VenuePool
from serving.feed.scoring import Ranking


@dataclass(frozen=True, slots=True)
class Page:
    """What one block shows: rows of the ranking, then items that filled it up."""

    plan: BlockPlan
    rows: list[int]
    filled: list[int]
    more: bool
    removed: Counter[str]

    def items(self, ranking: Ranking) -> list[int]:
        """Return the item indices in the order of the page."""
        return [*ranking.items[self.rows].tolist(), *self.filled]


def select(query: Query, ranking: Ranking, release: ResidentRelease, pool: VenuePool) -> list[Page]:
    """Fill every block of a request."""
    pages: list[Page] = []
    taken: list[int] = []
    for plan in query.blocks:
        filters = _filters(query, plan, taken, release)
        page = _fill(plan, filters, ranking, pool, len(release.item_hashes))
        taken += page.items(ranking)
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


def _fill(
    plan: BlockPlan, filters: list[Filter], ranking: Ranking, pool: VenuePool, catalogue: int
) -> Page:
    removed: Counter[str] = Counter()
    rows = np.flatnonzero(apply(filters, ranking.items, removed))
    page = rows[: plan.page_size].tolist()
    if len(rows) > plan.page_size:
        return Page(plan, page, [], more=True, removed=removed)
    rest = _rest(filters, ranking, pool, catalogue)
    wanted = plan.page_size - len(page)
    return Page(plan, page, rest[:wanted].tolist(), more=len(rest) > wanted, removed=removed)


def _rest(filters: list[Filter], ranking: Ranking, pool: VenuePool, catalogue: int) -> Int32:
    """Return the pool's items that are not in the ranking and that the filters keep."""
    ranked = np.zeros(catalogue, dtype=np.bool_)
    ranked[ranking.items] = True
    rest = pool.by_popularity[~ranked[pool.by_popularity]]
    return rest[apply(filters, rest, Counter())]

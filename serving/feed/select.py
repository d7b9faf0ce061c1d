"""Selection: the pages of all blocks from their rankings, no item twice.

Blocks take turns in the order of the request. A block that its ranked candidates cannot fill goes
on with what the shopper may see of the venue's pool, in the order of popularity, so paging ends
where the pool ends, or after `MAX_SHOWN` items. Blocks of some kinds end with their candidates.

Where no rule and no fixed slot asks for more, a page is the first rows of its ranking; else
`serving.feed.arrange` lays the pages out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.feed.arrange import arrange
from serving.feed.eligibility import Eligible
from serving.feed.listing import Listing
from serving.feed.page import UNRANKED, Choice, FixedSlots, Page
from serving.feed.query import Query
from serving.feed.resident import ResidentRelease, VenuePool


def select(
    query: Query,
    listings: Sequence[Listing],
    release: ResidentRelease,
    pool: VenuePool,
    eligible: Eligible,
    fixed: FixedSlots,
    recommendation_id: str,
) -> list[Page]:
    """Fill every block of a request, each from its own listing.

    `fixed` says what stands in given places, besides the pins of the venue.
    """
    rules = [release.rules.bound(query.phase.rules, plan.block.rules) for plan in query.blocks]
    if fixed or not all(bound.plain for bound in rules):
        choices = [
            Choice(plan, query, listing, release, pool)
            for plan, listing in zip(query.blocks, listings, strict=True)
        ]
        return arrange(query, choices, rules, release, pool, eligible, fixed, recommendation_id)
    return first_rows(query, listings, release, pool)


def first_rows(
    query: Query, listings: Sequence[Listing], release: ResidentRelease, pool: VenuePool
) -> list[Page]:
    """Fill every block of a request with the first rows of its listing, whatever the rules."""
    pages: list[Page] = []
    taken: list[int] = []
    for plan, listing in zip(query.blocks, listings, strict=True):
        page = _first(Choice(plan, query, listing, release, pool, taken))
        taken += page.items
        pages.append(page)
    return pages


def _first(choice: Choice) -> Page:
    """Return the first rows that a block may show."""
    plan, listing, size = choice.plan, choice.listing, choice.plan.page_size
    kept = np.flatnonzero(choice.kept)
    rows = kept[:size].tolist()
    items = listing.ranking.items[rows].tolist()
    if len(kept) > size:
        return Page(plan, listing, items, rows, more=True, removed=choice.removed)
    rest = choice.rest()
    wanted = size - len(rows)
    items += rest[:wanted].tolist()
    rows += [UNRANKED] * (len(items) - len(rows))
    return Page(plan, listing, items, rows, more=len(rest) > wanted, removed=choice.removed)

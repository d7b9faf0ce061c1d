"""Pages by rules: fixed slots put where they belong, the rest laid out by `serving.feed.rerank`.

eligible pins and other fixed slots -> what each block may choose from -> lay out -> pages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np

from qianmian.contracts import features as f
from qianmian.features.item_table import Int32
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.venues.rules import Exploration
from serving.feed.eligibility import Eligible
from serving.feed.filters import BLOCK_FILTER, IN_ANOTHER_BLOCK, Mask
from serving.feed.page import (
    NO_SUCH_PLACE,
    NOT_IN_POOL,
    PINNED,
    PLACE_TAKEN,
    UNKNOWN_ITEM,
    UNRANKED,
    Choice,
    FixedSlot,
    FixedSlots,
    Page,
    Skipped,
)
from serving.feed.query import BlockPlan, Query
from serving.feed.rerank.arrays import FIXED
from serving.feed.rerank.layout import Layout, Vacancy, lay_out
from serving.feed.rerank.reasons import moved_by, relaxed
from serving.feed.rerank.rulebook import Bound
from serving.feed.resident import ResidentRelease, VenuePool
from serving.feed.tokens import NO_HASHES, Special, UInt32

#: The same request draws the same for this long.
_DRAW_SECONDS: Final = 3_600


@dataclass(slots=True)
class _Fixed:
    """The fixed slots of one block, on this page and later ones."""

    slots: dict[int, FixedSlot] = field(default_factory=dict)  # by slot of this page, from 0
    skipped: list[Skipped] = field(default_factory=list)


def arrange(
    query: Query,
    choices: Sequence[Choice],
    rules: Sequence[Bound],
    release: ResidentRelease,
    pool: VenuePool,
    eligible: Eligible,
    fixed: FixedSlots,
    recommendation_id: str,
) -> list[Page]:
    """Fill every block of a request by its rules."""
    placed = _place_fixed(choices, rules, pool, eligible, fixed)
    vacancies = [
        _vacancy(choice, bound, there.slots, query, release, recommendation_id)
        for choice, bound, there in zip(choices, rules, placed, strict=True)
    ]
    layouts = lay_out(
        vacancies,
        release.rules,
        pool.shelf.holds,
        lambda items, exploration: _fresh(items, exploration, query.now, release),
    )
    unmet = relaxed(layouts)
    return [
        _page(choice, there, layout, query, release, broken)
        for choice, there, layout, broken in zip(choices, placed, layouts, unmet, strict=True)
    ]


def _place_fixed(
    choices: Sequence[Choice],
    rules: Sequence[Bound],
    pool: VenuePool,
    eligible: Eligible,
    fixed: FixedSlots,
) -> list[_Fixed]:
    """Put pins, then what else is fixed, into their places, each item once."""
    placed: list[_Fixed] = []
    on_page: set[int] = set()
    for choice, bound in zip(choices, rules, strict=True):
        there = _Fixed()
        for position, slot in _wanted(bound, fixed.get(choice.plan.block_id, {})):
            place = position - choice.plan.offset - 1
            if place < 0:
                continue
            reason = _why_not(slot.item, choice, pool, eligible)
            if reason is None and slot.item in on_page:
                reason = IN_ANOTHER_BLOCK
            if reason is None and place in there.slots:
                reason = PLACE_TAKEN
            if reason is not None:
                there.skipped.append(Skipped(slot, position, reason))
                continue
            on_page.add(slot.item)
            there.slots[place] = slot
        placed.append(there)
    return placed


def _wanted(bound: Bound, fixed: Mapping[int, FixedSlot]) -> Iterator[tuple[int, FixedSlot]]:
    for position, item in bound.pins:
        yield position, FixedSlot(item, Special(PINNED))
    yield from fixed.items()


def _why_not(item: int, choice: Choice, pool: VenuePool, eligible: Eligible) -> str | None:
    """Return why an item may not stand in a fixed slot of a block, None if it may."""
    if item < 0:
        return UNKNOWN_ITEM
    if not pool.pool.member[item]:
        return NOT_IN_POOL
    if not choice.listing.allowed[item]:
        judged = (reason for reason, out in eligible.judged() if out[item])
        return next(judged, None) or next(iter(choice.listing.removed), BLOCK_FILTER)
    alone = np.array([item], dtype=np.int32)
    return next((one.reason for one in choice.filters if not one.keep(alone)[0]), None)


def _vacancy(
    choice: Choice,
    rules: Bound,
    fixed: Mapping[int, FixedSlot],
    query: Query,
    release: ResidentRelease,
    recommendation_id: str,
) -> Vacancy:
    plan, ranking = choice.plan, choice.listing.ranking
    rows = np.flatnonzero(choice.kept)
    return Vacancy(
        rules=rules,
        slots=plan.page_size,
        offset=plan.offset,
        items=ranking.items[rows],
        scores=ranking.score[rows],
        source=ranking.source[rows],
        rest=choice.rest,
        fixed={place: slot.item for place, slot in fixed.items()},
        before=release.rules.indices_of(plan.before),
        seed=_seed(query, plan, recommendation_id) if rules.exploration else 0,
    )


def _seed(query: Query, plan: BlockPlan, recommendation_id: str) -> int:
    """Return the seed of a block's draws: the same request gets the same page.

    One that names nobody is drawn by its recommendation, so that those who ask so draw apart.
    """
    asks = query.user_id, query.visitor_id, query.session_id, query.page_view_id
    asked = (
        query.venue.id,
        *(asks if any(asks) else (recommendation_id,)),
        int(query.now // _DRAW_SECONDS),
        plan.block_id,
        plan.offset,
    )
    digest = blake2b(repr(asked).encode(), digest_size=8)
    digest.update(query.shown.tobytes())
    return int.from_bytes(digest.digest(), "big")


def _fresh(items: Int32, exploration: Exploration, now: float, release: ResidentRelease) -> Mask:
    """Return which items are new to the shop, those without an event too, or hardly shown yet."""
    table = release.bundle.items
    fresh = np.zeros(len(items), dtype=np.bool_)
    if exploration.new_within_days is not None:
        first = table.first_seen_at[items]
        fresh |= (first <= 0) | (first > now - exploration.new_within_days * SECONDS_PER_DAY)
    if exploration.impressions_below is not None:
        fresh |= table.statistic(f.IMPRESSION_COUNT)[items] < exploration.impressions_below
    return fresh


def _page(
    choice: Choice,
    there: _Fixed,
    layout: Layout,
    query: Query,
    release: ResidentRelease,
    broken: Sequence[str],
) -> Page:
    """Read a layout; the page ends where nothing was left."""
    plan, ranking, vacancy = choice.plan, choice.listing.ranking, layout.vacancy
    items: list[int] = layout.shown.tolist()
    fixed = {place: there.slots[place] for place in vacancy.here}
    kept = np.flatnonzero(choice.kept)
    row_of = {int(item): row for row, item in enumerate(ranking.items)} if fixed else {}
    rows: list[int] = []
    for item, row in zip(items, layout.rows.tolist(), strict=False):
        if row == FIXED:
            rows.append(row_of.get(item, UNRANKED))
        else:
            at = int(layout.kept[row])
            rows.append(int(kept[at]) if at >= 0 else UNRANKED)
    propensities = layout.propensity[: len(items)].tolist()
    for place, slot in fixed.items():
        propensities[place] = slot.propensity
    out_of_reach = [
        Skipped(slot, plan.offset + place + 1, NO_SUCH_PLACE)
        for place, slot in there.slots.items()
        if place not in vacancy.fixed
    ]
    elsewhere = len(vacancy.items) - np.count_nonzero(layout.kept >= 0)
    if elsewhere:
        choice.removed[IN_ANOTHER_BLOCK] += int(elsewhere)
    return Page(
        plan=plan,
        listing=choice.listing,
        items=items,
        rows=rows,
        more=layout.more,
        removed=choice.removed,
        fixed=fixed,
        skipped=[*there.skipped, *out_of_reach],
        propensities=propensities,
        before=_memory(plan, layout, release),
        moved_by=moved_by(layout)[: len(items)] if query.explain else [],
        relaxed=broken,
    )


def _memory(plan: BlockPlan, layout: Layout, release: ResidentRelease) -> UInt32:
    """Return the hashes of what the next page's rules look back on, as they were shown."""
    memory = layout.vacancy.rules.memory
    if not memory:
        return NO_HASHES
    own = layout.vacancy.continued
    history = plan.before if own else release.item_hashes[layout.sequence[: layout.start]]
    return np.concatenate([history, release.item_hashes[layout.shown]])[-memory:]

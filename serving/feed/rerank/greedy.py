"""Filling a block: slot by slot, the candidate that gains most among those that break least.

Each rule has a level, 1 for the one that yields first: windows (the last listed first), then
`at_least` quotas, then `at_most` quotas. A candidate's level is that of the hardest rule it would
break in the slot, 0 if none. The lowest level wins, then the greatest gain, then the better rank.
So no rule is broken unless every candidate left breaks it or a harder one.

Candidates come best first, and a gain cannot exceed what relevance adds to it, so the search ends
at the first candidate that cannot win. Inner functions take arrays one by one: a tuple of arrays
that is passed on costs a reference count for each of them.

Shapes: as in `arrays`; `H` places before the block, `P` slots, `T = H + P`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qianmian.features.item_table import Int32
from serving.feed.rerank.arrays import (
    DPP,
    FIXED,
    FREE,
    MMR,
    Candidates,
    Diversity,
    Mask,
    Picks,
    Quotas,
    Windows,
)
from serving.feed.rerank.compiled import compiled, inlined
from serving.feed.rerank.likeness import (
    RIDGE,
    Memory,
    greatest,
    remember,
    show,
    volume,
)
from serving.feed.rerank.windows import broken_windows, note_full


class Slot(NamedTuple):
    """What the rules ask of the slot that is being filled."""

    full: Int32  # [W, codes], equal to the place where a code may not stand
    counts: Int32  # [codes], scratch: zeros between slots
    urgent: Mask  # [Q], only a member keeps the quota's at_least within reach
    needed: Mask  # [Q], the quota lacks members
    crowded: Mask  # [1], so many are lacking that each slot left must help one quota


@compiled
def fill(
    candidates: Candidates,
    windows: Windows,
    quotas: Quotas,
    diversity: Diversity,
    sequence: Int32,
    start: int,
) -> Picks:
    """Fill the free slots of a block.

    Args:
        candidates: distinct, none of them in `sequence`.
        windows: rules over neighbouring slots.
        quotas: rules over the page; `used` is counted up.
        diversity: how likeness counts.
        sequence: int32 [T], the items before the block, then its slots: an item index (or -1)
            where an item is fixed, FREE elsewhere. Filled in place.
        start: H.
    """
    rows = len(candidates.items)
    picks = _nothing_picked(len(sequence) - start)
    slot = Slot(
        np.full((len(windows.within), windows.widest), -1, np.int32),
        np.zeros(windows.widest, np.int32),
        np.zeros(len(quotas.used), np.bool_),
        np.zeros(len(quotas.used), np.bool_),
        np.zeros(1, np.bool_),
    )
    taken = np.zeros(rows, np.bool_)
    memory = remember(len(sequence), rows, diversity)
    free = 0
    for place in range(len(sequence)):
        if place < start and place >= diversity.since:
            show(memory, diversity, sequence[place])
        free += sequence[place] == FREE
    first = 0
    for place in range(start, len(sequence)):
        p = place - start
        note_full(slot.full, slot.counts, windows, sequence, place)
        if sequence[place] != FREE:
            picks.rows[p] = FIXED
            picks.broken[p] = broken_windows(slot.full, windows.codes, sequence[place], place)
            show(memory, diversity, sequence[place])
            continue
        free -= 1
        _note_needs(slot, quotas, free)
        while first < rows and taken[first]:
            first += 1
        best, level = _best(
            candidates, windows, quotas, diversity, memory, slot, taken, first, place
        )
        if best < 0:
            continue
        item = candidates.items[best]
        picks.rows[p], picks.level[p], picks.first[p] = best, level, first
        picks.broken[p] = broken_windows(slot.full, windows.codes, item, place)
        if best != first:
            picks.held[p] = _level(
                slot.full,
                windows.codes,
                quotas.member,
                quotas.used,
                quotas.at_most,
                slot.urgent,
                slot.needed,
                slot.crowded[0],
                candidates.items[first],
                first,
                place,
            )
        taken[best] = True
        sequence[place] = item
        show(memory, diversity, item)
        for q in range(len(quotas.used)):
            quotas.used[q] += quotas.member[q, best]
    return picks


@inlined
def _nothing_picked(slots: int) -> Picks:
    return Picks(
        np.full(slots, FREE, np.int32),
        np.zeros(slots, np.int32),
        np.zeros(slots, np.uint64),
        np.full(slots, -1, np.int32),
        np.zeros(slots, np.int32),
    )


@inlined
def _best(
    candidates: Candidates,
    windows: Windows,
    quotas: Quotas,
    diversity: Diversity,
    memory: Memory,
    slot: Slot,
    taken: Mask,
    first: int,
    place: int,
) -> tuple[int, int]:
    """Return the candidate for this slot, -1 if none is left, and its level."""
    items, weight = candidates.items, candidates.weight
    codes, member = windows.codes, quotas.member
    used, at_most = quotas.used, quotas.at_most
    full, urgent, needed, crowded = slot.full, slot.urgent, slot.needed, slot.crowded[0]
    method, strength = diversity.method, diversity.strength
    vectors, scale = diversity.vectors, diversity.scale
    shown, count, upto = memory.shown, memory.length[0], memory.upto
    likeness, ordered, known = memory.likeness, memory.ordered, memory.known
    inverse, oldest = memory.inverse, max(0, count - len(memory.inverse))
    most = 1.0 + RIDGE if method == DPP else 1.0
    best, best_level, best_gain = -1, 1 << 30, 0.0
    for row in range(first, len(items)):
        if taken[row]:
            continue
        no_better = best >= 0 and most * weight[row] <= best_gain
        if no_better and best_level == 0:
            break
        level = _level(
            full, codes, member, used, at_most, urgent, needed, crowded, items[row], row, place
        )
        if level > best_level or (level == best_level and no_better):
            continue
        gain = weight[row]
        if method and count:
            beaten = best_gain if level == best_level else -np.inf
            if oldest == 0 and _gain(method, strength, gain, known[row]) <= beaten:
                continue  # what it was held against is still there, so it can only have lost
            item = items[row]
            if method == MMR:
                known[row], upto[row] = greatest(
                    likeness,
                    shown,
                    row,
                    item,
                    upto[row],
                    count,
                    known[row],
                    (gain - beaten) / strength,
                    vectors,
                    scale,
                )
            else:
                known[row], upto[row] = volume(
                    likeness,
                    ordered,
                    inverse,
                    shown,
                    row,
                    item,
                    upto[row],
                    count,
                    known[row],
                    beaten / gain,
                    vectors,
                    scale,
                )
            gain = _gain(method, strength, gain, known[row])
        if level < best_level or gain > best_gain:
            best, best_level, best_gain = row, level, gain
    return best, best_level


@inlined
def _gain(method: int, strength: float, weight: float, known: float) -> float:
    return weight - strength * known if method == MMR else weight * known


@inlined
def _level(
    full: Int32,
    codes: Int32,
    member: Mask,
    used: Int32,
    at_most: Int32,
    urgent: Mask,
    needed: Mask,
    crowded: bool,  # noqa: FBT001  compiled functions are called by position
    item: int,
    row: int,
    place: int,
) -> int:
    """Return the level of the hardest rule that a candidate breaks in this slot."""
    n_windows, n_quotas = len(full), len(used)
    for q in range(n_quotas):
        if member[q, row] and used[q] >= at_most[q]:
            return n_windows + n_quotas + n_quotas - q
    helps, softest = not crowded, 0
    for q in range(n_quotas):
        if urgent[q] and not member[q, row]:
            return n_windows + n_quotas - q
        if needed[q]:
            helps |= member[q, row]
            softest = n_windows + n_quotas - q
    if not helps:
        return softest
    for w in range(n_windows):
        if full[w, codes[w, item]] == place:
            return n_windows - w
    return 0


@inlined
def _note_needs(slot: Slot, quotas: Quotas, free: int) -> None:
    """Note which quotas lack members, with `free` slots of the block left after this one."""
    lacking = 0
    for q in range(len(quotas.used)):
        lack = quotas.at_least[q] - quotas.used[q] - quotas.later[q]
        slot.needed[q] = lack > 0
        slot.urgent[q] = False
        if lack > 0:
            lacking += lack
            room = free
            if quotas.pace[q, 1] > 0:
                most, within = quotas.pace[q, 0], quotas.pace[q, 1]
                room = min(room, most * (free // within) + min(most, free % within))
            slot.urgent[q] = lack > room
    slot.crowded[0] = lacking > free

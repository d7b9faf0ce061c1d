"""Exploration: now and then an item of which little is known takes the place of the chosen one.

The page is laid out first. Each slot that may explore then gets options: fresh items from outside
the page, near enough in score, that break no rule whatever the other slots draw. An item is an
option of one slot only. So slots draw apart from one another, and the propensity of what they show
is exact: `1 - share` for the item that stays, `share / options` for each option, 1 where there are
no options.

Shapes: as in `arrays`; `P` slots, `T` places of a sequence, `E` exploring slots, `O` options.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float32, Float64, Int32
from serving.feed.rerank.arrays import Mask, Quotas, Windows
from serving.feed.rerank.compiled import compiled

IntP = npt.NDArray[np.intp]


class Explored(NamedTuple):
    """What a block shows after its draws. P slots."""

    rows: Int32  # [P], candidate of each slot, as in `Picks`
    propensity: Float64  # [P]
    drawn: Mask  # [P], whether the slot explored
    options: Int32  # [E, O], candidates that slots could have shown, -1 where there is none


@compiled
def explore(
    rows: Int32,
    may: Mask,
    fresh: Mask,
    items: Int32,
    scores: Float32,
    windows: Windows,
    quotas: Quotas,
    lowest: Int32,
    sequence: Int32,
    start: int,
    most: int,
    gap: float,
    share: float,
    seed: np.uint64,
) -> Explored:
    """Let slots of a block draw.

    Args:
        rows: int32 [P], candidates as they were chosen.
        may: bool [P], slots that may explore; a candidate of the ranking stands in each.
        fresh: bool [N], candidates that may be drawn, none of them on the page.
        items: int32 [N], of the candidates.
        scores: float32 [N], of the candidates, never rising where `fresh`.
        windows: rules over neighbouring slots.
        quotas: rules over the page; `used` is raised to the most members that draws can give.
        lowest: int32 [Q], lowered to the fewest members that draws can give.
        sequence: int32 [T], the page as it was laid out; takes in what is drawn.
        start: place of the first slot in the sequence.
        most: O, options of one slot.
        gap: share of the displaced item's score that may be lost.
        share: chance that a slot with options draws one.
        seed: of the draws.
    """
    slots = np.flatnonzero(may)
    options = _options(
        slots,
        rows,
        np.flatnonzero(fresh),
        items,
        scores,
        windows,
        quotas,
        lowest,
        sequence,
        start,
        most,
        gap,
    )
    explored = Explored(rows.copy(), np.ones(len(rows)), np.zeros(len(rows), np.bool_), options)
    for e in range(len(slots)):
        slot, count = slots[e], 0
        while count < most and options[e, count] >= 0:
            count += 1
        if not count:
            continue
        point = _uniform(seed, slot)
        explored.propensity[slot] = 1.0 - share
        if point < share:
            row = options[e, min(int(point / share * count), count - 1)]
            explored.rows[slot] = row
            explored.propensity[slot] = share / count
            explored.drawn[slot] = True
            sequence[start + slot] = items[row]
    return explored


@compiled
def _options(
    slots: IntP,
    rows: Int32,
    fresh: IntP,
    items: Int32,
    scores: Float32,
    windows: Windows,
    quotas: Quotas,
    lowest: Int32,
    sequence: Int32,
    start: int,
    most: int,
    gap: float,
) -> Int32:
    """Return candidates that each slot may show instead, int32 [E, O], -1 where there is none."""
    options = np.full((len(slots), most), -1, np.int32)
    possible = np.full((len(sequence), most + 1), -1, np.int32)
    possible[:, 0] = sequence
    full = np.full((len(windows.within), windows.widest), -1, np.int32)
    counts = np.zeros(windows.widest, np.int32)
    used = np.zeros(len(fresh), np.bool_)
    raised, lowered = np.zeros(len(lowest), np.int32), np.zeros(len(lowest), np.int32)
    for e in range(len(slots)):
        place, base = start + slots[e], rows[slots[e]]
        least = scores[base] - gap * abs(scores[base])
        if not len(fresh) or scores[fresh[0]] < least:
            continue
        for w in range(len(windows.within)):
            _note_possible(
                full[w],
                counts,
                windows.codes[w],
                possible,
                place,
                windows.since[w],
                windows.within[w],
                windows.at_most[w],
            )
        raised[:], lowered[:] = 0, 0
        found = 0
        for k in range(len(fresh)):
            row = fresh[k]
            if found == most or scores[row] < least:
                break
            if used[k] or not _fits(full, windows.codes, items[row], place):
                continue
            if not _within_quotas(
                quotas.member,
                quotas.used,
                quotas.at_most,
                quotas.at_least,
                lowest,
                raised,
                lowered,
                row,
                base,
            ):
                continue
            for q in range(len(lowest)):
                step = np.int32(quotas.member[q, row]) - np.int32(quotas.member[q, base])
                raised[q], lowered[q] = max(raised[q], step), max(lowered[q], -step)
            used[k] = True
            options[e, found] = row
            possible[place, found + 1] = items[row]
            found += 1
        for q in range(len(lowest)):
            quotas.used[q] += raised[q]
            lowest[q] -= lowered[q]
    return options


@compiled
def _uniform(seed: np.uint64, place: int) -> float:
    """Return a number in 0 .. 1 for a place: one step of SplitMix64 from the seed."""
    state = seed + (np.uint64(place) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return float(state >> np.uint64(11)) / 9007199254740992.0


@compiled
def _fits(full: Int32, codes: Int32, item: int, place: int) -> bool:
    fits = True
    for w in range(len(full)):
        fits &= full[w, codes[w, item]] != place
    return fits


@compiled
def _within_quotas(
    member: Mask,
    used: Int32,
    at_most: Int32,
    at_least: Int32,
    lowest: Int32,
    raised: Int32,
    lowered: Int32,
    row: int,
    base: int,
) -> bool:
    """Return whether a swap keeps every quota that holds now, whatever the other slots draw."""
    for q in range(len(lowest)):
        step = np.int32(member[q, row]) - np.int32(member[q, base])
        if step > raised[q] and used[q] + step > at_most[q]:
            return False
        if -step > lowered[q] and lowest[q] + step < at_least[q]:
            return False
    return True


@compiled
def _note_possible(
    full: Int32,
    counts: Int32,
    codes: Int32,
    possible: Int32,
    place: int,
    since: int,
    within: int,
    most: int,
) -> None:
    """Like `windows.note_full`, counting each code that a place shows by any draw."""
    lowest, highest = max(since, place - within + 1), min(len(possible), place + within)
    for other in range(lowest, highest):
        if other - within >= lowest:
            _count(counts, codes, possible[other - within], -1)
        if other == place:
            continue
        _count(counts, codes, possible[other], 1)
        for item in possible[other]:
            if item >= 0 and codes[item] > 0 and counts[codes[item]] >= most:
                full[codes[item]] = place
    for other in range(lowest, highest):
        for item in possible[other]:
            if item >= 0:
                counts[codes[item]] = 0


@compiled
def _count(counts: Int32, codes: Int32, items: Int32, step: int) -> None:
    for k in range(len(items)):
        if items[k] < 0:
            continue
        again = False
        for earlier in range(k):
            again |= items[earlier] >= 0 and codes[items[earlier]] == codes[items[k]]
        if not again:
            counts[codes[items[k]]] += step

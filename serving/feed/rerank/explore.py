"""Exploration: now and then an item of which little is known takes the place of the chosen one.

The page is laid out first. Each slot that may explore then gets options: fresh items from outside
the page, near enough in score, that break no rule whatever the other slots draw. An item is an
option of one slot only. So slots draw apart from one another, and the propensity of what they show
is exact: `1 - share` for the item that stays, `share / options` for each option, 1 where there are
no options.

Shapes: as in `arrays`; `T` places of a sequence, `E` exploring slots, `F` fresh candidates, `O`
options of a slot.
"""

from __future__ import annotations

import numpy as np

from qianmian.features.item_table import Float32, Int32
from serving.feed.rerank.arrays import Quotas, Windows
from serving.feed.rerank.compiled import compiled


@compiled
def options(
    places: Int32,
    chosen: Int32,
    fresh: Int32,
    items: Int32,
    scores: Float32,
    windows: Windows,
    quotas: Quotas,
    lowest: Int32,
    sequence: Int32,
    most: int,
    gap: float,
) -> Int32:
    """Return candidates that each slot may show instead, int32 [E, O], -1 where there is none.

    Args:
        places: int32 [E], places in the sequence.
        chosen: int32 [E], candidates that stand there.
        fresh: int32 [F], candidates that may explore, best first, none of them on the page.
        items: int32 [N], of the candidates.
        scores: float32 [N], of the candidates.
        windows: rules over neighbouring slots.
        quotas: rules over the page; `used` is raised to the most members that draws can give.
        lowest: int32 [Q], lowered to the fewest members that draws can give.
        sequence: int32 [T], the page as it was laid out.
        most: O, options of one slot.
        gap: share of the displaced item's score that may be lost.
    """
    picked = np.full((len(places), most), -1, np.int32)
    possible = np.full((len(sequence), most + 1), -1, np.int32)
    possible[:, 0] = sequence
    full = np.full((len(windows.within), windows.widest), -1, np.int32)
    counts = np.zeros(windows.widest, np.int32)
    used = np.zeros(len(fresh), np.bool_)
    n_quotas = len(lowest)
    raised, lowered = np.zeros(n_quotas, np.int32), np.zeros(n_quotas, np.int32)
    for e in range(len(places)):
        place, base = places[e], chosen[e]
        least = scores[base] - gap * abs(scores[base])
        for w in range(len(windows.within)):
            since, within = windows.since[w], windows.within[w]
            _note_possible(
                full[w],
                counts,
                windows.codes[w],
                possible,
                place,
                since,
                within,
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
            if not _within_quotas(quotas, lowest, raised, lowered, row, base):
                continue
            for q in range(n_quotas):
                step = np.int32(quotas.member[q, row]) - np.int32(quotas.member[q, base])
                raised[q], lowered[q] = max(raised[q], step), max(lowered[q], -step)
            used[k] = True
            picked[e, found] = row
            possible[place, found + 1] = items[row]
            found += 1
        for q in range(n_quotas):
            quotas.used[q] += raised[q]
            lowest[q] -= lowered[q]
    return picked


@compiled
def draw(seed: np.uint64, places: Int32, options: Int32, share: float) -> Int32:
    """Return the option that each slot draws, int32 [E]; -1 where the chosen item stays."""
    drawn = np.full(len(places), -1, np.int32)
    for e in range(len(places)):
        count = 0
        while count < options.shape[1] and options[e, count] >= 0:
            count += 1
        point = _uniform(seed, places[e])
        if count and point < share:
            drawn[e] = options[e, min(int(point / share * count), count - 1)]
    return drawn


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
    quotas: Quotas, lowest: Int32, raised: Int32, lowered: Int32, row: int, base: int
) -> bool:
    """Return whether a swap keeps every quota that holds now, whatever the other slots draw."""
    for q in range(len(lowest)):
        step = np.int32(quotas.member[q, row]) - np.int32(quotas.member[q, base])
        if step > raised[q] and quotas.used[q] + step > quotas.at_most[q]:
            return False
        if -step > lowered[q] and lowest[q] + step < quotas.at_least[q]:
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

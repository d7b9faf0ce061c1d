"""The greedy of `serving.feed.rerank.greedy` again, as plain as it can be said, to compare with."""

from __future__ import annotations

import math

import numpy as np

from serving.feed.rerank.arrays import DPP, FREE, MMR, Candidates, Diversity, Quotas, Windows
from serving.feed.rerank.likeness import RIDGE


def broken_windows(windows: Windows, sequence: list[int], place: int, item: int) -> list[int]:
    """Windows that hold too many of one code once an item stands in a place."""
    broken = []
    for w, codes in enumerate(windows.codes):
        if item < 0 or codes[item] == 0:
            continue
        trial = [*sequence]
        trial[place] = item
        within, since = int(windows.within[w]), int(windows.since[w])
        for first in range(place - within + 1, place + 1):
            seen = [
                at
                for at in range(first, first + within)
                if since <= at < len(trial) and trial[at] >= 0
            ]
            same = [at for at in seen if codes[trial[at]] == codes[item]]
            if len(same) > windows.at_most[w]:
                broken.append(w)
                break
    return broken


def level(
    windows: Windows,
    quotas: Quotas,
    used: np.ndarray,
    sequence: list[int],
    place: int,
    row: int,
    item: int,
) -> int:
    """Level of the hardest rule that a candidate breaks."""
    n_windows, n_quotas = len(windows.within), len(used)
    free = sum(1 for item in sequence[place + 1 :] if item == FREE)
    levels = [n_windows - w for w in broken_windows(windows, sequence, place, item)]
    lack = {q: int(quotas.at_least[q] - used[q] - quotas.later[q]) for q in range(n_quotas)}
    needed = {q for q, count in lack.items() if count > 0}
    for q in range(n_quotas):
        member = bool(quotas.member[q, row])
        if member and used[q] >= quotas.at_most[q]:
            levels.append(n_windows + 2 * n_quotas - q)
        room = free
        most, within = (int(x) for x in quotas.pace[q])
        if within:
            room = min(free, most * (free // within) + min(most, free % within))
        if q in needed and lack[q] > room and not member:
            levels.append(n_windows + n_quotas - q)
    helps = any(quotas.member[q, row] for q in needed)
    if sum(lack[q] for q in needed) > free and not helps:
        levels.append(n_windows + n_quotas - max(needed))
    return max(levels, default=0)


def gain(diversity: Diversity, relevance: float, shown: list[int], item: int) -> float:
    """What a candidate adds to a page that shows these items, up to what all candidates share."""
    s = diversity.strength
    if diversity.method not in {MMR, DPP}:
        return relevance
    window = [i for i in shown if i >= 0][-diversity.window :]

    def cosine(one: int, other: int) -> float:
        x, y = (diversity.vectors[i].astype(float) for i in (one, other))
        return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-12))

    if diversity.method == MMR:
        nearest = max((cosine(item, other) for other in window), default=0.0)
        return (1 - s) * relevance - s * max(nearest, 0.0)

    def volume(items: list[int]) -> float:
        kernel = [[cosine(a, b) if a != b else 1 + RIDGE for b in items] for a in items]
        return float(np.linalg.det(np.array(kernel))) if items else 1.0

    grown = volume([*window, item]) / volume(window)
    return (1 - s) * relevance + s * math.log(max(grown, 1e-9))


def check(
    candidates: Candidates,
    relevance: np.ndarray,
    windows: Windows,
    quotas: Quotas,
    diversity: Diversity,
    before: np.ndarray,
    picks: tuple,
) -> None:
    """Go through the slots; the fast pick must be as good as the best that is found here."""
    start = len(before) - len(picks.rows)
    sequence = before.tolist()
    used = quotas.used.copy()
    taken: set[int] = set()
    for slot, picked in enumerate(picks.rows.tolist()):
        place = start + slot
        shown = [item for item in sequence[diversity.since : place] if item != FREE]
        if before[place] != FREE:
            assert picked == -1
            broken = broken_windows(windows, sequence, place, sequence[place])
        else:
            left = [row for row in range(len(candidates.items)) if row not in taken]
            if not left:
                assert picked == FREE
                continue
            of = {
                row: (
                    level(windows, quotas, used, sequence, place, row, int(candidates.items[row])),
                    gain(diversity, relevance[row], shown, int(candidates.items[row])),
                )
                for row in left
            }
            lowest = min(of[row][0] for row in left)
            best = max(of[row][1] for row in left if of[row][0] == lowest)
            assert of[picked][0] == lowest == picks.level[slot]
            assert of[picked][1] >= best - 1e-4
            assert picks.first[slot] == left[0]
            if picked != left[0]:
                assert picks.held[slot] == of[left[0]][0]
            item = int(candidates.items[picked])
            broken = broken_windows(windows, sequence, place, item)
            taken.add(picked)
            sequence[place] = item
            used += quotas.member[:, picked]
        assert int(picks.broken[slot]) == sum(1 << w for w in broken)

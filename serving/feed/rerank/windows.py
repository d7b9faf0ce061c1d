"""Windows: which codes may not stand in a slot, because a window over it is full of them.

Shapes: as in `arrays`; `T` places of a sequence.
"""

from __future__ import annotations

import numpy as np

from qianmian.features.item_table import Int32
from serving.feed.rerank.arrays import Windows
from serving.feed.rerank.compiled import inlined


@inlined
def note_full(full: Int32, counts: Int32, windows: Windows, sequence: Int32, place: int) -> None:
    """Write `place` into `full` [W, codes] for each code that may not stand there."""
    for w in range(len(windows.within)):
        _note_window(
            full[w],
            counts,
            windows.codes[w],
            sequence,
            place,
            windows.within[w],
            windows.at_most[w],
            windows.since[w],
        )


@inlined
def _note_window(
    full: Int32,
    counts: Int32,
    codes: Int32,
    sequence: Int32,
    place: int,
    within: int,
    most: int,
    since: int,
) -> None:
    """Slide one window from where it ends at the place to where it begins there."""
    lowest, highest = max(since, place - within + 1), min(len(sequence), place + within)
    for other in range(lowest, highest):
        if other - within >= lowest and sequence[other - within] >= 0:
            counts[codes[sequence[other - within]]] -= 1
        item = sequence[other]
        if item >= 0 and other != place:
            code = codes[item]
            counts[code] += 1
            if code > 0 and counts[code] >= most:
                full[code] = place
    for other in range(lowest, highest):
        if sequence[other] >= 0:
            counts[codes[sequence[other]]] = 0


@inlined
def broken_windows(full: Int32, codes: Int32, item: int, place: int) -> np.uint64:
    """Return a bit for each window that an item breaks in a place."""
    bits = np.uint64(0)
    if item >= 0:
        for w in range(len(full)):
            if full[w, codes[w, item]] == place:
                bits |= np.uint64(1) << np.uint64(w)
    return bits

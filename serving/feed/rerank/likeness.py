"""Diversity: what a candidate gains a page that already shows the items before it.

Likeness of two items is the cosine of their vectors, and only the last K items count. Candidates
are looked at lazily: each remembers its likeness to the items it was already held against, so one
that never comes near the top never costs a dot product.

MMR (Carbonell and Goldstein 1998): `gain = (1 - s) r_i - s max_j max(cos_ij, 0)`.

DPP (Chen, Zhang and Zhou 2018, greedy MAP): for the kernel `L_ij = q_i q_j (cos_ij + ridge [i=j])`
with `q_i^2 = exp(r_i (1 - s) / s)` the item that adds most to the determinant is the one with the
greatest `gain = q_i^2 d_i^2`, where `d_i^2 = 1 + ridge - |c_i|^2` and `V c_i = cos_Si` for the
Cholesky factor `V` of the shown items S. `V` grows by one row a slot; it is held as its inverse,
so that the numbers of `c_i` need not wait for one another. When the window slides, the oldest row
leaves by a rank-one update.

Shapes: N candidates, K slots of the window, T slots in all, D width of vectors.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from qianmian.features.item_table import Float32, Float64, Int32
from serving.feed.rerank.arrays import DPP, Diversity
from serving.feed.rerank.compiled import compiled, inlined

#: Added to the kernel's diagonal: two equal items leave this much volume instead of none.
RIDGE: Final = 1e-3
_LEAST: Final = 1e-9  # volume that rounding cannot take away


class Memory(NamedTuple):
    """What diversity remembers while a block is filled."""

    shown: Int32  # [T], items so far, oldest first
    length: Int32  # [1], how many of `shown` there are
    inverse: (
        Float64  # [K, K], inverse of V, lower triangle; rows from the oldest item of the window
    )
    likeness: Float32  # [N, K], to shown item j at column j % K
    ordered: Float64  # [N, K], the same from the oldest item on
    known: (
        Float64  # [N], MMR: greatest likeness, DPP: d_i^2, as of `upto`, before the window slides
    )
    upto: Int32  # [N], items of `shown` that a candidate was held against


@compiled
def remember(slots: int, candidates: int, diversity: Diversity) -> Memory:
    """Return an empty memory for so many slots, those of the pages before included."""
    width = min(diversity.window, slots) if diversity.method else 1
    rows = candidates if diversity.method else 0
    return Memory(
        np.empty(slots, np.int32),
        np.zeros(1, np.int32),
        np.zeros((width, width), np.float64),
        np.empty((rows, width), np.float32),
        np.empty((rows, width), np.float64),
        np.full(rows, 1.0 + RIDGE if diversity.method == DPP else 0.0),
        np.zeros(rows, np.int32),
    )


@inlined
def show(memory: Memory, diversity: Diversity, item: int) -> None:
    """Note that an item stands in the next slot."""
    if diversity.method == 0 or item < 0:
        return
    count = memory.length[0]
    if diversity.method == DPP:
        _extend(memory.inverse, memory.shown, count, item, diversity.vectors, diversity.scale)
    memory.shown[count] = item
    memory.length[0] = count + 1


@inlined
def greatest(
    likeness: Float32,
    shown: Int32,
    row: int,
    item: int,
    upto: int,
    count: int,
    known: float,
    enough: float,
    vectors: Float32,
    scale: Float32,
) -> tuple[float, int]:
    """Return a candidate's greatest likeness to an item of the window, 0 if there is none above.

    `known` is its value as of `upto`. Items it was held against before come first, and the search
    ends at `enough`, where the candidate cannot win any more. Also returns how far it came.
    """
    width = likeness.shape[1]
    oldest = max(0, count - width)
    if oldest > 0:
        known = 0.0
        upto = max(upto, oldest)
        column = oldest % width
        for _ in range(oldest, upto):
            known = max(known, likeness[row, column])
            column = column + 1 if column + 1 < width else 0
    column = upto % width
    while upto < count and known < enough:
        likeness[row, column] = _cosine(vectors, scale, item, shown[upto])
        known = max(known, likeness[row, column])
        column = column + 1 if column + 1 < width else 0
        upto += 1
    return known, upto


@inlined
def volume(
    likeness: Float32,
    ordered: Float64,
    inverse: Float64,
    shown: Int32,
    row: int,
    item: int,
    upto: int,
    count: int,
    known: float,
    least: float,
    vectors: Float32,
    scale: Float32,
) -> tuple[float, int]:
    """Return a candidate's `d_i^2`, and up to which item.

    It only falls with each item, so the sum ends once it comes to `least`, where the candidate
    cannot win any more. While the window has not slid, `known` is the sum as of `upto`; once it
    slides all of `c_i` is new, but not the likeness it is made from.
    """
    width = likeness.shape[1]
    oldest = max(0, count - width)
    place = upto
    if oldest > 0:
        known, place = 1.0 + RIDGE, oldest
        upto = max(upto, oldest)
    column = place % width
    while place < count and known > least:
        if place == upto:
            likeness[row, column] = _cosine(vectors, scale, item, shown[place])
            upto += 1
        k = place - oldest
        ordered[row, k] = likeness[row, column]
        total = 0.0
        for m in range(k + 1):
            total += inverse[k, m] * ordered[row, m]
        known -= total * total
        column = column + 1 if column + 1 < width else 0
        place += 1
    return max(known, _LEAST), upto


@inlined
def _extend(
    inverse: Float64, shown: Int32, count: int, item: int, vectors: Float32, scale: Float32
) -> None:
    """Add an item's row to the inverse factor; the oldest row leaves a full one before."""
    width = len(inverse)
    held = min(count, width)
    if held == width:
        _drop_oldest(inverse)
        held -= 1
    likeness, solved = np.empty(width), np.empty(width)
    left = 1.0 + RIDGE
    for k in range(held):
        likeness[k] = _cosine(vectors, scale, item, shown[count - held + k])
        total = 0.0
        for m in range(k + 1):
            total += inverse[k, m] * likeness[m]
        solved[k] = total
        left -= total * total
    root = math.sqrt(max(left, _LEAST))
    for m in range(held):
        total = 0.0
        for k in range(m, held):
            total += solved[k] * inverse[k, m]
        inverse[held, m] = -total / root
    inverse[held, held] = 1.0 / root


@compiled
def _drop_oldest(inverse: Float64) -> None:
    """Take the oldest item out of the inverse factor, in place.

    With `V = [[v, 0], [w, V2]]` the items that stay have the factor `V2 R` where
    `R R^T = I + u u^T` and `u = V2^-1 w`; its inverse is `R^-1 V2^-1`, one column at a time.
    """
    width = len(inverse)
    u = np.empty(width - 1)
    root = np.empty(width)
    total = 1.0
    root[0] = 1.0
    for k in range(width - 1):
        u[k] = -inverse[k + 1, 0] / inverse[0, 0]
        total += u[k] * u[k]
        root[k + 1] = math.sqrt(total)
    for m in range(width - 1):
        carried = 0.0
        for k in range(m, width - 1):
            ratio = root[k + 1] / root[k]
            value = (inverse[k + 1, m + 1] - u[k] * carried) / ratio
            carried += u[k] * value / (root[k + 1] * root[k])
            inverse[k, m] = value


@inlined
def _cosine(vectors: Float32, scale: Float32, one: int, other: int) -> float:
    total = np.float32(0.0)
    for d in range(vectors.shape[1]):
        total += vectors[one, d] * vectors[other, d]
    return float(total * scale[one] * scale[other])

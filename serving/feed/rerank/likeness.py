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
from serving.feed.rerank.compiled import compiled

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
    solved: Float64  # [N, K], c_i while the window has not slid; then scratch
    known: Float64  # [N], MMR: greatest likeness, DPP: d_i^2, as of `upto`
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


@compiled
def show(memory: Memory, diversity: Diversity, item: int) -> None:
    """Note that an item stands in the next slot."""
    if diversity.method == 0 or item < 0:
        return
    count = memory.length[0]
    if diversity.method == DPP:
        _extend(memory.inverse, memory.shown, count, item, diversity.vectors, diversity.scale)
    memory.shown[count] = item
    memory.length[0] = count + 1


@compiled
def hold_against(
    likeness: Float32,
    shown: Int32,
    since: int,
    count: int,
    item: int,
    vectors: Float32,
    scale: Float32,
) -> None:
    """Note in a candidate's row [K] its likeness to the items that came since."""
    width = len(likeness)
    for j in range(since, count):
        likeness[j % width] = _dot(vectors[item], vectors[shown[j]]) * scale[item] * scale[shown[j]]


@compiled
def greatest(likeness: Float32, known: float, since: int, count: int) -> float:
    """Return the greatest likeness to an item of the window, 0 if there is none above."""
    width = len(likeness)
    if count > width:
        since, known = count - width, 0.0
    for j in range(since, count):
        known = max(known, likeness[j % width])
    return known


@compiled
def volume(
    likeness: Float32,
    solved: Float64,
    inverse: Float64,
    since: int,
    count: int,
    known: float,
    least: float,
) -> float:
    """Return `d_i^2` from a candidate's rows.

    While the window has not slid, `known` is its value at `since`, and one number a new item is
    added to `solved`. Once it slides all of `c_i` is new; then the sum ends when it falls to
    `least`, where the candidate cannot win any more.
    """
    width = len(likeness)
    if count <= width:
        for k in range(since, count):
            total = 0.0
            for m in range(k + 1):
                total += inverse[k, m] * likeness[m]
            solved[k] = total
            known -= total * total
        return max(known, _LEAST)
    split = width - count % width  # columns from the oldest item's to the last
    for m in range(width):
        solved[m] = likeness[m + width - split if m < split else m - split]
    known = 1.0 + RIDGE
    for k in range(width):
        total = 0.0
        for m in range(k + 1):
            total += inverse[k, m] * solved[m]
        known -= total * total
        if known <= least:
            break
    return max(known, _LEAST)


@compiled
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
        other = shown[count - held + k]
        likeness[k] = _dot(vectors[item], vectors[other]) * scale[item] * scale[other]
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


@compiled
def _dot(one: Float32, other: Float32) -> np.float32:
    total = np.float32(0.0)
    for d in range(len(one)):
        total += one[d] * other[d]
    return total

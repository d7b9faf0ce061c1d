"""Families: items that one attribute, or several together, make alike.

Each attribute that users' preferences are kept for makes families: those of one brand, say. `akin`
items share all of these attributes, `alike` items every attribute there is: the sizes and flavours
of one thing. Who bought some of a family is likely to buy another, and of an item that nobody acted
on yet this is the most that can be known (content-based filtering: Pazzani and Billsus, 2007).

Shapes: `n` items, `N` some of them, `M` ledger entries, `K` families of a user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.user_state import Affinity, Ledger, UserState

AKIN: Final = "akin"
ALIKE: Final = "alike"


def family_kinds(affinity_columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the kinds of families, from wide to narrow."""
    return (*affinity_columns, AKIN, ALIKE)


@dataclass(frozen=True, slots=True)
class Families:
    """The families of a catalogue, by kind.

    `codes[kind]` is int32 [n], the code of each item's family, 0 where it lacks a value of an
    attribute that makes it; `sizes[kind]` float32 [n], how many items its family has, 0 without
    one.
    """

    codes: dict[str, Int32]
    sizes: dict[str, Float32]

    @classmethod
    def of(cls, items: ItemTable, affinity_columns: Sequence[str]) -> Families:
        """Lay out the families of a catalogue."""
        codes = {name: items.attributes[name].codes for name in affinity_columns}
        codes[AKIN] = _codes(items, tuple(affinity_columns))
        codes[ALIKE] = _codes(items, tuple(items.attributes))
        return cls(codes=codes, sizes={kind: _sizes(held) for kind, held in codes.items()})

    def affinities(self, user: UserState) -> dict[str, Affinity]:
        """What the user likes, by kind of family; a kind that nothing is known of is left out."""
        found = {kind: held for kind, held in user.affinity.items() if kind in self.codes}
        for kind in (AKIN, ALIKE):
            found[kind] = _affinity(user.ledger, self.codes[kind])
        return {kind: held for kind, held in found.items() if len(held.codes)}

    def recounted(self, user: UserState) -> UserState:
        """The user with preferences as the ledger tells them, strongest first."""
        counted = {kind: _affinity(user.ledger, self.codes[kind]) for kind in user.affinity}
        ranked = {kind: _strongest_first(held) for kind, held in counted.items()}
        return replace(user, affinity=ranked)

    def taste(self, affinities: Mapping[str, Affinity], items: Int32) -> Float32:
        """How much of what the user did speaks for each of some items, float32 [N].

        Over all kinds, what the user did in the item's family by the root of the family's size:
        to have bought one of three says more of another than to have bought one of a thousand.
        """
        scores = np.zeros(len(items), dtype=np.float32)
        for kind, affinity in affinities.items():
            codes, sizes = self.codes[kind], self.sizes[kind][items]
            liked = np.zeros(int(codes.max()) + 1, dtype=np.float32)
            liked[affinity.codes] = affinity.weights
            scores += liked[codes[items]] / np.sqrt(np.maximum(sizes, 1.0))
        return scores


def _codes(items: ItemTable, names: Sequence[str]) -> Int32:
    """Codes of the distinct combinations of values, int32 [n]; 0 where a value is unknown."""
    codes = np.zeros(len(items), dtype=np.int32)
    if not names:
        return codes
    values = np.stack([items.attributes[name].codes for name in names], axis=1)
    whole = np.flatnonzero((values > 0).all(axis=1))
    combined = np.unique(values[whole], axis=0, return_inverse=True)[1]
    codes[whole] = 1 + combined.reshape(-1)
    return codes


def _sizes(codes: Int32) -> Float32:
    sizes = np.bincount(codes, minlength=1).astype(np.float32)
    sizes[0] = 0.0
    held: Float32 = sizes[codes]
    return held


def _affinity(ledger: Ledger, codes: Int32) -> Affinity:
    """What the user did the target action on, by family, in the order of the codes."""
    families = codes[ledger.items]
    rows = np.flatnonzero(families)
    rows = rows[np.argsort(families[rows], kind="stable")]
    kept, starts = np.unique(families[rows], return_index=True)
    weights, last_at = ledger.decayed[rows, _HALF_LIFE], ledger.last_at[rows]
    if len(rows):
        weights = np.add.reduceat(weights, starts)
        last_at = np.maximum.reduceat(last_at, starts)
    return Affinity(codes=kept, weights=weights, last_at=last_at)


def _strongest_first(affinity: Affinity) -> Affinity:
    order = np.lexsort((-affinity.last_at, -affinity.weights))[: f.AFFINITY_LENGTH]
    return Affinity(affinity.codes[order], affinity.weights[order], affinity.last_at[order])


_HALF_LIFE: Final = f.LEDGER_HALF_LIVES_DAYS.index(f.AFFINITY_HALF_LIFE_DAYS)

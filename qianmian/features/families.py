"""Families: items that one attribute, or several together, make alike.

Each attribute that users' preferences are kept for makes families: those of one brand, say. `akin`
items share all of these attributes, `alike` items every attribute there is: the flavours of one
thing. Who bought some of a family is likely to buy another, and of an item that nobody acted on yet
this is the most that can be known (content-based filtering: Pazzani and Billsus, 2007).

Shapes: `n` items, `N` some of them, `M` ledger entries, `K` families of a user or of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.user_state import Affinity, Ledger, UserState

AKIN, ALIKE = f.JOINED_FAMILIES


def family_kinds(affinity_columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the kinds of families, from wide to narrow."""
    return (*affinity_columns, AKIN, ALIKE)


@dataclass(frozen=True, slots=True)
class Families:
    """The families of a catalogue, by kind.

    `codes[kind]` is int32 [n], the code of each item's family, 0 where it lacks a preferred
    attribute of the kind; `roots[kind]` float32 [K + 1], one over the root of how many items a
    family has, 0 for code 0.
    """

    codes: dict[str, Int32]
    roots: dict[str, Float32]

    @classmethod
    def of(cls, items: ItemTable, affinity_columns: Sequence[str]) -> Families:
        """Lay out the families of a catalogue."""
        preferred = [items.attributes[name].codes for name in affinity_columns]
        every = [attribute.codes for attribute in items.attributes.values()]
        codes = dict(zip(affinity_columns, preferred, strict=True))
        codes[AKIN] = _combined(preferred, needed=preferred, size=len(items))
        codes[ALIKE] = _combined(every, needed=preferred or every, size=len(items))
        return cls(codes=codes, roots={kind: _roots(held) for kind, held in codes.items()})

    def affinities(self, user: UserState) -> dict[str, Affinity]:
        """What the user likes, by kind of family; a kind that nothing is known of is left out."""
        found = {kind: held for kind, held in user.affinity.items() if kind in self.codes}
        for kind in (AKIN, ALIKE):
            found[kind] = _counted(user.ledger, self.codes[kind])
        return {kind: held for kind, held in found.items() if len(held.codes)}

    def taste(self, ledger: Ledger, items: Int32) -> Float32:
        """How much of what a user did speaks for each of some items, float32 [N].

        Over all kinds, what the user did in the item's family by the root of the family's size:
        to have bought one of three says more of another than to have bought one of a thousand.
        """
        scores = np.zeros(len(items), dtype=np.float32)
        for kind, codes in self.codes.items():
            roots, done = self.roots[kind], ledger.decayed[:, _HALF_LIFE]
            liked = np.bincount(codes[ledger.items], weights=done, minlength=len(roots)) * roots
            scores += liked[codes[items]].astype(np.float32)
        return scores

    def without(self, user: UserState, others: npt.NDArray[np.bool_]) -> UserState:
        """The user as if only the `others` (bool [n]) of the catalogue had ever been there.

        Recent actions and the ledger lose the rest, preferences as much as the ledger loses.
        """
        left = user.of_items(others)
        affinity = {
            kind: _lessened(
                held,
                _counted(user.ledger, self.codes[kind]),
                _counted(left.ledger, self.codes[kind]),
            )
            for kind, held in user.affinity.items()
            if kind in self.codes
        }
        return replace(left, affinity={**user.affinity, **affinity})


def _combined(values: Sequence[Int32], needed: Sequence[Int32], size: int) -> Int32:
    """Codes of the distinct combinations of values, int32 [n]; 0 where a needed one is unknown."""
    codes = np.zeros(size, dtype=np.int32)
    if not values:
        return codes
    whole = np.flatnonzero(np.all([held > 0 for held in needed], axis=0))
    rows = np.stack(values, axis=1)[whole]
    codes[whole] = 1 + np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    return codes


def _roots(codes: Int32) -> Float32:
    sizes = np.bincount(codes, minlength=1)
    roots = (1.0 / np.sqrt(np.maximum(sizes, 1))).astype(np.float32)
    roots[0] = 0.0
    return roots


def _counted(ledger: Ledger, codes: Int32) -> Affinity:
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


def _lessened(held: Affinity, whole: Affinity, left: Affinity) -> Affinity:
    """A preference less what the ledger lost, strongest first; what the ledger lacks stays."""
    size = 1 + max(int(part.codes.max(initial=0)) for part in (held, whole))
    before, after = np.zeros(size), np.zeros(size)
    before[whole.codes], after[left.codes] = whole.weights, left.weights
    share = np.where(before > 0, after / np.maximum(before, 1e-12), 1.0)[held.codes]
    last_at = np.full(size, np.inf)
    last_at[left.codes] = left.last_at
    weights, last_at = held.weights * share, np.minimum(held.last_at, last_at[held.codes])
    kept = np.flatnonzero(weights > 0)
    order = kept[np.lexsort((-last_at[kept], -weights[kept]))]
    return Affinity(held.codes[order], weights[order].astype(np.float32), last_at[order])


_HALF_LIFE: Final = f.LEDGER_HALF_LIVES_DAYS.index(f.AFFINITY_HALF_LIFE_DAYS)

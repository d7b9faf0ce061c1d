"""Rules bound to a release: attribute names become codes, values and sources become masks.

Bound once for each pair of page and block rules, then kept while the release stays.

Shapes: as in `arrays`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.retrieval.sources import SOURCE_CODE
from qianmian.venues.conditions import Condition
from qianmian.venues.rules import (
    BlockRules,
    DiversityMethod,
    Exploration,
    Quota,
    Rules,
    Window,
)
from serving.feed.rerank.arrays import DPP, MMR, NO_DIVERSITY, UNLIMITED, Mask

UInt32 = npt.NDArray[np.uint32]

_METHODS: Final = {DiversityMethod.MMR: MMR, DiversityMethod.DPP: DPP}
_KEPT: Final = 512  # pairs of rules; more come only from files that change while it runs

#: Gives the items of the catalogue for which a condition is true, bool [n].
Holds = Callable[[Condition], Mask]


@dataclass(frozen=True, slots=True)
class Bound:
    """The rules of one block in one release; quotas of the page come before those of the block."""

    names: tuple[str, ...]  # of windows, then quotas, as an explanation calls them
    codes: Int32  # [W, n]
    window_most: Int32  # [W]
    within: Int32  # [W]
    across: Mask  # [W], runs on from the block before
    widest: int
    by_value: Mask  # [Q, n], members of the quotas by attribute value
    by_source: tuple[tuple[int, int], ...]  # quota and the source whose items are its members
    by_condition: tuple[tuple[int, Condition], ...]
    at_least: Int32  # [Q]
    at_most: Int32  # [Q]
    pace: Int32  # [Q, 2]
    page_quotas: int
    method: int
    strength: float
    likeness_window: int
    exploration: Exploration | None
    pins: tuple[tuple[int, int], ...]  # position, item index (-1 unknown)
    memory: int  # items of the pages before that the rules look back on
    memory_above: int  # items of the blocks above

    @property
    def plain(self) -> bool:
        """Whether the ranking may be shown as it is."""
        return not (self.names or self.method or self.exploration or self.pins)

    def level_name(self, level: int) -> str:
        """Return the rule of a level, see `greedy`."""
        windows, quotas = len(self.within), len(self.at_least)
        if level <= windows:
            return self.names[windows - level]
        return self.names[windows + quotas - 1 - (level - windows - 1) % quotas]


class RuleBook:
    """Binds rules to a release."""

    def __init__(self, table: ItemTable, vectors: Float32, hashes: UInt32) -> None:
        """`vectors` float32 [n, D] and `hashes` uint32 [n] are those of the items."""
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        self._table = table
        self._bound: dict[tuple[int, int], tuple[Rules, BlockRules, Bound]] = {}
        self._by_hash = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._by_hash]
        self.vectors = vectors.view()
        self.vectors.setflags(write=False)  # one type, whether read from a file or made
        self.scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    def bound(self, page: Rules, block: BlockRules) -> Bound:
        """Return the rules of a block; the same objects are bound once."""
        key = id(page), id(block)  # both are held beside the answer, so no other takes their id
        held = self._bound.get(key)
        if held is None:
            if len(self._bound) >= _KEPT:
                self._bound.clear()
            held = self._bound[key] = (page, block, self._bind(page, block))
        return held[2]

    def indices_of(self, hashes: UInt32) -> Int32:
        """Return the item of each hash, int32, -1 where the release does not know it."""
        if not len(hashes) or not len(self._hashes):
            return np.full(len(hashes), -1, dtype=np.int32)
        places = np.searchsorted(self._hashes, hashes)
        places[places == len(self._hashes)] = 0
        return np.where(self._hashes[places] == hashes, self._by_hash[places], np.int32(-1))

    def _bind(self, page: Rules, block: BlockRules) -> Bound:
        own = block.completed_by(page)
        windows, page_quotas = own.windows or (), page.quotas or ()
        quotas = (*page_quotas, *(block.quotas or ()))
        diversity, exploration = own.diversity, own.exploration
        method = _METHODS[diversity.method] if diversity and diversity.strength else NO_DIVERSITY
        looks_back = [window.within - 1 for window in windows]
        looks_back.append(diversity.window if diversity and method else 0)
        return Bound(
            names=(
                *(_window_name(window) for window in windows),
                *(_quota_name(quota, "page") for quota in page_quotas),
                *(_quota_name(quota, "block") for quota in block.quotas or ()),
            ),
            codes=self._codes(windows),
            window_most=_ints(window.at_most for window in windows),
            within=_ints(window.within for window in windows),
            across=np.array([window.across_blocks for window in windows], dtype=np.bool_),
            widest=max((self._values(window.attribute) for window in windows), default=1),
            by_value=np.array([self._by_value(quota) for quota in quotas], dtype=np.bool_).reshape(
                len(quotas), len(self._table)
            ),
            by_source=tuple(
                (row, SOURCE_CODE[quota.source])
                for row, quota in enumerate(quotas)
                if quota.source is not None
            ),
            by_condition=tuple(
                (row, quota.items) for row, quota in enumerate(quotas) if quota.items is not None
            ),
            at_least=_ints(quota.at_least or 0 for quota in quotas),
            at_most=_ints(
                UNLIMITED if quota.at_most is None else quota.at_most for quota in quotas
            ),
            pace=np.array([_pace(quota, windows) for quota in quotas], dtype=np.int32).reshape(
                -1, 2
            ),
            page_quotas=len(page_quotas),
            method=method,
            strength=diversity.strength if diversity else 0.0,
            likeness_window=diversity.window if diversity else 1,
            exploration=exploration if exploration and exploration.share else None,
            pins=tuple((pin.position, self._table.index_of(pin.item_id)) for pin in block.pins),
            memory=max(looks_back),
            memory_above=max((w.within - 1 for w in windows if w.across_blocks), default=0),
        )

    def _codes(self, windows: tuple[Window, ...]) -> Int32:
        codes = np.zeros((len(windows), len(self._table)), dtype=np.int32)
        for row, window in zip(codes, windows, strict=True):
            attribute = self._table.attributes.get(window.attribute)
            if attribute is not None:
                row[:] = attribute.codes
        return codes

    def _values(self, name: str) -> int:
        attribute = self._table.attributes.get(name)
        return 1 if attribute is None else len(attribute)

    def _by_value(self, quota: Quota) -> Mask:
        attribute = self._table.attributes.get(quota.attribute or "")
        if attribute is None:
            return np.zeros(len(self._table), dtype=np.bool_)
        wanted = np.zeros(len(attribute), dtype=np.bool_)
        known = [attribute.code_of[value] for value in quota.values if value in attribute.code_of]
        wanted[known] = True
        member: Mask = wanted[attribute.codes]
        return member


def _pace(quota: Quota, windows: tuple[Window, ...]) -> tuple[int, int]:
    """Return how many of how many slots the windows leave to the quota's values; 0, 0 for all."""
    tightest = (0, 0)
    for window in windows:
        if window.attribute == quota.attribute:
            most = window.at_most * len(quota.values)
            if most < window.within and (
                not tightest[1] or most * tightest[1] < tightest[0] * window.within
            ):
                tightest = (most, window.within)
    return tightest


def _window_name(window: Window) -> str:
    return f"at most {window.at_most} of one {window.attribute} in {window.within} slots"


def _quota_name(quota: Quota, scope: str) -> str:
    bounds = [
        f"at {word} {count}"
        for word, count in (("least", quota.at_least), ("most", quota.at_most))
        if count is not None
    ]
    if quota.attribute is not None:
        sort = f"{quota.attribute} {' or '.join(quota.values)}"
    elif quota.source is not None:
        sort = f"source {quota.source}"
    else:
        sort = str(quota.items)
    return f"{' and '.join(bounds)} of {sort} in the {scope}"


def _ints(values: Iterable[int]) -> Int32:
    return np.array(list(values), dtype=np.int32)

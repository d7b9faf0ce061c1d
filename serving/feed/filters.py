"""Filters: each says which items may stay; what it takes out is counted under its reason.

A filter is a reason and a rule from item indices (int32 [N]) to a mask (bool [N]) of what it
keeps. `apply` runs them in order; an item is counted under the first filter that removes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts import columns as c
from qianmian.contracts.api import BlockFilter
from qianmian.features.item_table import Float32, Int32, ItemTable
from serving.feed.tokens import UInt32

Mask = npt.NDArray[np.bool_]

BEYOND_LIMIT: Final = "beyond_limit"
UNSCORED: Final = "unscored"
EXCLUDED: Final = "excluded"
ALREADY_SHOWN: Final = "already_shown"
FILTERED: Final = "filtered"
IN_ANOTHER_BLOCK: Final = "in_another_block"
INELIGIBLE: Final = "ineligible"
BLOCK_FILTER: Final = "block_filter"


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule with the reason that its removals are counted under."""

    reason: str
    keep: Callable[[Int32], Mask]


def apply(filters: Iterable[Filter], items: Int32, removed: Counter[str]) -> Mask:
    """Return the mask of items that every filter keeps; `removed` counts the others."""
    kept = np.ones(len(items), dtype=np.bool_)
    left = len(items)
    for one in filters:
        kept &= one.keep(items)
        now = int(np.count_nonzero(kept))
        if now < left:
            removed[one.reason] += left - now
            left = now
    return kept


def within(reason: str, allowed: Mask) -> Filter:
    """Keep what a mask over the catalogue allows."""
    return Filter(reason, lambda items: allowed[items])


def not_listed(reason: str, listed: Int32) -> Filter:
    """Keep what is not in a list of item indices (-1 for ids nobody knows)."""
    return Filter(reason, lambda items: np.isin(items, listed, invert=True))


def not_shown(shown: UInt32, hashes: UInt32) -> Filter:
    """Keep what earlier pages have not shown; `hashes` of all items, `shown` of those shown."""
    return Filter(ALREADY_SHOWN, lambda items: np.isin(hashes[items], shown, invert=True))


def meets(wanted: BlockFilter, table: ItemTable, prices: Float32) -> Filter:
    """Keep what meets the conditions of a request; an unknown value or price meets none.

    `prices` are the venue's, float32 [n], NaN where unknown.
    """
    rules = [
        rule
        for rule in (
            _one_of(table, c.CATEGORY, wanted.category),
            _one_of(table, c.BRAND, wanted.brand),
            _price_within(prices, wanted.price_min, wanted.price_max),
        )
        if rule is not None
    ]

    def keep(items: Int32) -> Mask:
        kept = np.ones(len(items), dtype=np.bool_)
        for rule in rules:
            kept &= rule(items)
        return kept

    return Filter(FILTERED, keep)


def _one_of(table: ItemTable, name: str, values: tuple[str, ...]) -> Callable[[Int32], Mask] | None:
    if not values:
        return None
    attribute = table.attributes.get(name)
    if attribute is None:
        return lambda items: np.zeros(len(items), dtype=np.bool_)
    allowed = np.zeros(len(attribute), dtype=np.bool_)
    allowed[[attribute.code_of[value] for value in values if value in attribute.code_of]] = True
    return lambda items: allowed[attribute.codes[items]]


def _price_within(
    prices: Float32, low: float | None, high: float | None
) -> Callable[[Int32], Mask] | None:
    if low is None and high is None:
        return None
    floor, ceiling = low or 0.0, np.inf if high is None else high

    def keep(items: Int32) -> Mask:
        price = prices[items]
        return (price >= floor) & (price <= ceiling)

    return keep

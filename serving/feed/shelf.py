"""A venue's shelf: what it holds of each item now, as columns over the catalogue.

Price, stock and sale window come from the data set's pool and from what is pushed while the service
runs; attributes and statistics from the release. Conditions are evaluated over these columns, and
their masks kept until a fact changes. A request asks `catch_up` first, so it sees every fact that
has reached the replica.

Shapes: `n` items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, Float64, ItemTable
from qianmian.venues.conditions import Column, Condition, Mask, Numbers, Sets, Texts
from qianmian.venues.inventory import EVERY_VENUE, Fact, Inventory

#: Statistics in which 0 stands for "not known".
_ZERO_IS_UNKNOWN: Final = frozenset({f.PAID_PRICE, f.BASE_PRICE, f.REPEAT_INTERVAL_DAYS})
_WINDOW: Final = {c.ON_SALE_FROM: -np.inf, c.ON_SALE_TO: np.inf}


@dataclass(frozen=True, slots=True)
class Offers:
    """What the data set says of the items of one venue, by item id; what is missing is unknown."""

    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By field of `qianmian.venues.inventory.FIELDS`."""
    coupons: Mapping[str, str] = field(default_factory=dict)
    regions: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """Declared numeric and multi columns of items, by column and item id."""

    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)


class ItemColumns:
    """The columns of a release's items that are the same in every venue, made when first read."""

    def __init__(self, table: ItemTable, facts: ItemFacts) -> None:
        self.table = table
        self._facts = facts
        self._made: dict[str, Column | None] = {}

    def get(self, name: str) -> Column | None:
        """Return a column, None for one that the release and the data set do not have."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    @cached_property
    def price(self) -> Float32:
        """Price paid for one unit, NaN where unknown, float32 [n]."""
        return _positive(self.table.statistic(f.PAID_PRICE))

    @cached_property
    def base_price(self) -> Float32:
        """Price before discount, NaN where unknown, float32 [n]."""
        return _positive(self.table.statistic(f.BASE_PRICE))

    @cached_property
    def margin(self) -> Float32 | None:
        """What is earned with one unit, NaN where unknown, float32 [n]; None without the column."""
        column = self.get(c.MARGIN)
        return column.values.astype(np.float32) if isinstance(column, Numbers) else None

    def _make(self, name: str) -> Column | None:
        table = self.table
        if name == c.ITEM_ID:
            code_of = {str(item): code for code, item in enumerate(table.item_ids.tolist(), 1)}
            return Texts(np.arange(1, len(table) + 1, dtype=np.int32), code_of)
        if name in table.attributes:
            return Texts(table.attributes[name].codes, table.attributes[name].code_of)
        if name in f.ITEM_STATISTICS_NUMERIC:
            values = table.statistic(name)
            return Numbers(_positive(values) if name in _ZERO_IS_UNKNOWN else values)
        if name in self._facts.numbers:
            return Numbers(by_item(table, self._facts.numbers[name], np.nan))
        if name in self._facts.sets:
            return Sets([self._facts.sets[name].get(item_id) for item_id in table.item_ids])
        return None


class Shelf:
    """What one venue holds of each item of one release."""

    def __init__(
        self, venue_id: str, columns: ItemColumns, offers: Offers, inventory: Inventory
    ) -> None:
        self._venue_id = venue_id
        self._columns = columns
        self._offers = offers
        self._inventory = inventory
        self.version = 0
        self._masks: dict[Condition, Mask] = {}
        self._made: dict[str, Column | None] = {}
        self._fill()

    def __len__(self) -> int:
        return len(self._columns.table)

    # -- what it holds --------------------------------------------------------------------------

    def get(self, name: str, /) -> Column | None:
        """Return a column by the name that conditions give it, None where there is none."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def holds(self, condition: Condition) -> Mask:
        """Return the items for which a condition is true, bool [n]; kept until a fact changes."""
        mask = self._masks.get(condition)
        if mask is None:
            mask = self._masks[condition] = condition.holds(self, len(self))
        return mask

    @property
    def price(self) -> Float32:
        """Price of one unit here, NaN where unknown, float32 [n]."""
        return self._columns.price if self._price is None else self._price

    @property
    def base_price(self) -> Float32:
        """Price before discount, NaN where unknown, float32 [n]."""
        return self._columns.base_price

    @property
    def margin(self) -> Float32 | None:
        """What is earned with one unit, float32 [n]; None where the data set does not say."""
        return self._columns.margin

    @property
    def stock(self) -> Float32 | None:
        """Units left, NaN where unknown, float32 [n]; None if nothing is known of any item."""
        return self._stock

    @property
    def window(self) -> tuple[Float64, Float64] | None:
        """Since when and until when each item is on sale, [n] each; None if always."""
        return self._window

    def coupon(self, item: int) -> str | None:
        """Return the coupon that the venue has for an item."""
        return self._offers.coupons.get(str(self._columns.table.item_ids[item]))

    # -- facts ----------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Take over every fact that was pushed since the last time; costs one look if none was."""
        if self._seen == self._inventory.version:
            return
        facts = self._inventory.since(self._seen)
        if facts is None or any(fact.value is None for fact in facts):
            self._fill()
        else:
            self._seen += len(facts)
            own = [
                fact
                for fact in facts
                if fact.venue_id == self._venue_id
                or (
                    fact.venue_id == EVERY_VENUE
                    and not self._inventory.has_own(fact, self._venue_id)
                )
            ]
            if not self._apply(own):
                return
        self.version += 1
        self._masks.clear()
        self._made.clear()

    def _fill(self) -> None:
        """Start from what the data set says, then everything that was pushed."""
        self._price: Float32 | None = None
        self._stock: Float32 | None = None
        self._window: tuple[Float64, Float64] | None = None
        for name, values in self._offers.numbers.items():
            self._apply([Fact(name, self._venue_id, item, value) for item, value in values.items()])
        facts, self._seen = self._inventory.of_venue(self._venue_id)
        self._apply(facts)

    def _apply(self, facts: Sequence[Fact]) -> bool:
        """Write facts into the columns; returns whether one was of an item of the release."""
        places = self._columns.table.indices_of(fact.item_id for fact in facts)
        written = False
        for place, fact in zip(places.tolist(), facts, strict=True):
            if place >= 0 and fact.value is not None:
                self._column_of(fact.field)[place] = fact.value
                written = True
        return written

    def _column_of(self, name: str) -> Float32 | Float64:
        """Return the array of a pushed field, made when first written."""
        if name == c.PRICE:
            if self._price is None:
                self._price = self._columns.price.copy()
            return self._price
        if name == c.STOCK:
            if self._stock is None:
                self._stock = np.full(len(self), np.nan, dtype=np.float32)
            return self._stock
        if self._window is None:
            self._window = np.full(len(self), -np.inf), np.full(len(self), np.inf)
        return self._window[name == c.ON_SALE_TO]

    def _make(self, name: str) -> Column | None:
        if name == c.PRICE:
            return Numbers(self.price)
        if name == f.DISCOUNT:
            return Numbers(np.maximum(1 - self.price / self.base_price, 0.0))
        if name == c.STOCK:
            return None if self._stock is None else Numbers(self._stock)
        if name == c.COUPON_ID:
            return self._coupons
        if name == c.REGIONS:
            regions = self._offers.regions
            return Sets([regions.get(item_id) for item_id in self._columns.table.item_ids])
        return self._columns.get(name)

    @cached_property
    def _coupons(self) -> Texts:
        code_of = {text: n for n, text in enumerate(sorted(set(self._offers.coupons.values())), 1)}
        codes = np.zeros(len(self), dtype=np.int32)
        places = self._columns.table.indices_of(self._offers.coupons)
        held = places >= 0
        values = [code_of[coupon] for coupon in self._offers.coupons.values()]
        codes[places[held]] = np.array(values, dtype=np.int32)[held]
        return Texts(codes, code_of)

    def elsewhere(self, region: str | None) -> Mask | None:
        """Return the items that are sold in regions of which this is none; None if there is none.

        An item that names no regions is sold everywhere.
        """
        if not self._offers.regions:
            return None
        items = [item for item, sold in self._offers.regions.items() if region not in sold]
        places = self._columns.table.indices_of(items)
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[places[places >= 0]] = True
        return mask


def _positive(values: Float32) -> Float32:
    return np.where(values > 0, values, np.float32(np.nan)).astype(np.float32)


def by_item(table: ItemTable, values: Mapping[str, float], blank: float = 0.0) -> Float32:
    """Return values by item id as a column, float32 [n]; `blank` where there is none."""
    column = np.full(len(table), blank, dtype=np.float32)
    places = table.indices_of(values)
    held = places >= 0
    column[places[held]] = np.fromiter(values.values(), dtype=np.float32)[held]
    return column

"""A venue's shelf: what it holds of each item now, as columns over the catalogue.

Price, stock and sale window come from the data set's pool and from what is pushed while the service
runs; attributes and statistics from the release. Conditions are evaluated over these columns, and
their masks kept until a fact changes. A request asks `catch_up` first, so it sees every fact that
has reached the replica.

Shapes: `n` items of the catalogue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, Float64, Int32, ItemTable
from qianmian.venues.conditions import Column, Condition, Mask, Numbers, Sets, Texts
from qianmian.venues.inventory import EVERY_VENUE, Inventory

#: Statistics in which 0 stands for "not known".
_ZERO_IS_UNKNOWN: Final = frozenset({f.PAID_PRICE, f.BASE_PRICE, f.REPEAT_INTERVAL_DAYS})
#: Columns that lie on statistics, which change while a release is in service.
_FROM_STATISTICS: Final = frozenset({*f.ITEM_STATISTICS_NUMERIC, c.PRICE, f.DISCOUNT})
#: Columns that lie on a pushed field.
_FROM_FIELD: Final = {c.PRICE: frozenset({c.PRICE, f.DISCOUNT}), c.STOCK: frozenset({c.STOCK})}
_ALWAYS: Final = {c.ON_SALE_FROM: -np.inf, c.ON_SALE_TO: np.inf}


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
        self._known: dict[str, Float32] = {}
        self.version = 0

    def renew(self) -> None:
        """Make what lies on statistics anew when it is read next; any thread may call this."""
        kept = self._made.copy()
        self._known = {}  # others may be reading, so what they read is left as it is
        self._made = {name: kept[name] for name in kept if name not in _FROM_STATISTICS}
        self.version += 1

    def get(self, name: str) -> Column | None:
        """Return a column, None for one that the release and the data set do not have."""
        made = self._made
        if name not in made:
            made[name] = self._make(name)
        return made[name]

    @property
    def price(self) -> Float32:
        """Price paid for one unit, NaN where unknown, float32 [n]."""
        return self._statistic(f.PAID_PRICE)

    @property
    def base_price(self) -> Float32:
        """Price before discount, NaN where unknown, float32 [n]."""
        return self._statistic(f.BASE_PRICE)

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
            return Numbers(self._statistic(name))
        if name in self._facts.numbers:
            return Numbers(by_item(table, self._facts.numbers[name], np.nan))
        if name in self._facts.sets:
            return Sets([self._facts.sets[name].get(item_id) for item_id in table.item_ids])
        return None

    def _statistic(self, name: str) -> Float32:
        """Return one statistic, NaN where unknown, float32 [n]."""
        if name not in _ZERO_IS_UNKNOWN:
            return self.table.statistic(name)
        known = self._known
        if name not in known:
            known[name] = _positive(self.table.statistic(name))
        return known[name]


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
        self._elsewhere: dict[str | None, Mask] = {}
        self._price: Float32 | None = None
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
        if self._renewed != self._columns.version:
            self._renew()
        if self._seen == self._inventory.version:
            return
        facts = self._inventory.since(self._seen)
        if facts is None:
            self._fill()
            self._outdate(_outdated_by(_FROM_FIELD))
            return
        self._seen += len(facts)
        here = (self._venue_id, EVERY_VENUE)
        said: dict[str, dict[str, float]] = defaultdict(dict)
        for fact in facts:
            if fact.venue_id in here:
                said[fact.field][fact.item_id] = self._standing(fact.field, fact.item_id)
        written = [name for name, values in said.items() if self._put(name, values)]
        if written:
            self._outdate(_outdated_by(written))

    def _renew(self) -> None:
        """Take over statistics; prices that the data set or a push says stand."""
        self._renewed = self._columns.version
        if self._price is not None:
            self._price = np.where(self._priced, self._price, self._columns.price)
        self._outdate(_FROM_STATISTICS)

    def _outdate(self, names: frozenset[str]) -> None:
        """Have columns, and the masks that read them, made anew when they are asked for next."""
        self.version += 1
        self._made = {name: made for name, made in self._made.items() if name not in names}
        masks = self._masks.items()
        self._masks = {one: mask for one, mask in masks if not one.columns & names}

    def _fill(self) -> None:
        """Start from what the data set says, then everything that was pushed."""
        self._renewed = self._columns.version
        self._priced = np.zeros(len(self), dtype=np.bool_)  # said here, not by the statistics
        self._price = None
        self._stock: Float32 | None = None
        self._window: tuple[Float64, Float64] | None = None
        pushed, self._seen = self._inventory.of_venue(self._venue_id)
        for said in (self._offers.numbers, pushed):
            for name, values in said.items():
                self._put(name, values)

    def _standing(self, name: str, item_id: str) -> float:
        """Return what is said of an item now, by a push or the data set; NaN for nothing."""
        pushed = self._inventory.value(name, self._venue_id, item_id)
        if pushed is not None:
            return pushed
        return self._offers.numbers.get(name, {}).get(item_id, np.nan)

    def _put(self, name: str, values: Mapping[str, float]) -> bool:
        """Write a field of items by id, NaN for nothing; returns whether the release has one."""
        places = self._columns.table.indices_of(values)
        held = places >= 0
        if not held.any():
            return False
        said = np.fromiter(values.values(), dtype=np.float64, count=len(values))[held]
        self._write(name, places[held], said)
        return True

    def _write(self, name: str, places: Int32, values: Float64) -> None:
        """Write values [k] of a field at distinct places [k]; without any its array goes."""
        column, blank = self._column_of(name), np.isnan(values)
        if name == c.PRICE:
            column[places] = np.where(blank, self._columns.price[places], values)
            self._priced[places] = ~blank
            if blank.any() and not self._priced.any():
                self._price = None
        elif name == c.STOCK:
            column[places] = values
            if blank.any() and np.isnan(column).all():
                self._stock = None
        else:
            column[places] = np.where(blank, _ALWAYS[name], values)
            if blank.any() and not any(np.isfinite(side).any() for side in self._window or ()):
                self._window = None

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
            opens, closes = (np.full(len(self), _ALWAYS[one]) for one in _ALWAYS)
            self._window = opens, closes
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
            return self._regions
        return self._columns.get(name)

    @cached_property
    def _regions(self) -> Sets:
        regions = self._offers.regions
        return Sets([regions.get(item_id) for item_id in self._columns.table.item_ids])

    @cached_property
    def _coupons(self) -> Texts:
        code_of = {text: n for n, text in enumerate(sorted(set(self._offers.coupons.values())), 1)}
        codes = np.zeros(len(self), dtype=np.int32)
        places = self._columns.table.indices_of(self._offers.coupons)
        held = places >= 0
        values = [code_of[coupon] for coupon in self._offers.coupons.values()]
        codes[places[held]] = np.array(values, dtype=np.int32)[held]
        return Texts(codes, code_of)

    def region(self, named: str | None) -> str | None:
        """Return a region by its name, None where no item names it: a request may name any."""
        return named if named in self._sold_in else None

    def elsewhere(self, region: str | None) -> Mask | None:
        """Return the items that are sold in regions of which this is none; None if there is none.

        An item that names no regions is sold everywhere.
        """
        if not self._offers.regions:
            return None
        region = self.region(region)
        mask = self._elsewhere.get(region)
        if mask is None:
            items = [item for item, sold in self._offers.regions.items() if region not in sold]
            places = self._columns.table.indices_of(items)
            mask = np.zeros(len(self), dtype=np.bool_)
            mask[places[places >= 0]] = True
            self._elsewhere[region] = mask
        return mask

    @cached_property
    def _sold_in(self) -> frozenset[str]:
        return frozenset[str]().union(*self._offers.regions.values())


def _outdated_by(fields: Iterable[str]) -> frozenset[str]:
    """Return the columns that lie on pushed fields."""
    return frozenset[str]().union(*(_FROM_FIELD.get(name, ()) for name in fields))


def _positive(values: Float32) -> Float32:
    return np.where(values > 0, values, np.float32(np.nan)).astype(np.float32)


def by_item(table: ItemTable, values: Mapping[str, float], blank: float = 0.0) -> Float32:
    """Return values by item id as a column, float32 [n]; `blank` where there is none."""
    column = np.full(len(table), blank, dtype=np.float32)
    places = table.indices_of(values)
    held = places >= 0
    column[places[held]] = np.fromiter(values.values(), dtype=np.float32)[held]
    return column

"""What a page shows of an item in a venue, made once for each item that is ever shown there."""

from __future__ import annotations

from typing import Any

from qianmian.contracts import columns as c
from qianmian.features.item_table import Float32, ItemTable
from serving.feed.shelf import Shelf

Details = dict[str, Any]


class ItemDetails:
    """`contracts.api.ItemDetails` by item index, as plain values that nobody changes."""

    def __init__(self, table: ItemTable, shelf: Shelf) -> None:
        """`shelf` holds price and coupon of an item in this venue."""
        self._table = table
        self._shelf = shelf
        self._category = table.attributes.get(c.CATEGORY)
        self._brand = table.attributes.get(c.BRAND)
        self._version = shelf.version
        self._made: dict[int, Details] = {}

    def __getitem__(self, item: int) -> Details:
        if self._version != self._shelf.version:
            self._version = self._shelf.version
            self._made.clear()
        made = self._made.get(item)
        if made is None:
            made = self._made[item] = self._make(item)
        return made

    def _make(self, item: int) -> Details:
        shelf = self._shelf
        price, base = _money(shelf.price, item), _money(shelf.base_price, item)
        return {
            "title": self._table.titles[item],
            "category": "" if self._category is None else self._category[item],
            "brand": "" if self._brand is None else self._brand[item],
            "price": price,
            "base_price": base,
            "discount": round(max(1 - price / base, 0.0), 4) if price and base else 0.0,
            "coupon_id": shelf.coupon(item),
        }


def _money(amounts: Float32, item: int) -> float | None:
    amount = float(amounts[item])
    return round(amount, 2) if amount > 0 else None  # NaN is not above 0

"""What a page shows of an item in a venue, made once for each item that is ever shown there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, ItemTable

Details = dict[str, Any]


class ItemDetails:
    """`contracts.api.ItemDetails` by item index, as plain values that nobody changes."""

    def __init__(self, table: ItemTable, coupons: Mapping[int, str] | None = None) -> None:
        """`coupons` names the coupon of an item in this venue, by item index."""
        self._table = table
        self._coupons = coupons or {}
        self._category = table.attributes.get(c.CATEGORY)
        self._brand = table.attributes.get(c.BRAND)
        self._paid = table.statistic(f.PAID_PRICE)
        self._base = table.statistic(f.BASE_PRICE)
        self._made: dict[int, Details] = {}

    def __getitem__(self, item: int) -> Details:
        made = self._made.get(item)
        if made is None:
            made = self._made[item] = self._make(item)
        return made

    def _make(self, item: int) -> Details:
        price, base = _money(self._paid, item), _money(self._base, item)
        return {
            "title": self._table.titles[item],
            "category": "" if self._category is None else self._category[item],
            "brand": "" if self._brand is None else self._brand[item],
            "price": price,
            "base_price": base,
            "discount": round(max(1 - price / base, 0.0), 4) if price and base else 0.0,
            "coupon_id": self._coupons.get(item),
        }


def _money(amounts: Float32, item: int) -> float | None:
    amount = float(amounts[item])
    return round(amount, 2) if amount > 0 else None

"""What a page shows of an item, made once for each item that is ever shown."""

from __future__ import annotations

from typing import Any

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, ItemTable

Details = dict[str, Any]


class ItemDetails:
    """`contracts.api.ItemDetails` by item index, as plain values that nobody changes."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        self._category = table.attributes.get(c.CATEGORY)
        self._brand = table.attributes.get(c.BRAND)
        self._paid = table.statistic(f.PAID_PRICE)
        self._base = table.statistic(f.BASE_PRICE)
        self._discount = table.statistic(f.DISCOUNT)
        self._made: dict[int, Details] = {}

    def __getitem__(self, item: int) -> Details:
        made = self._made.get(item)
        if made is None:
            made = self._made[item] = self._make(item)
        return made

    def _make(self, item: int) -> Details:
        return {
            "title": self._table.titles[item],
            "category": "" if self._category is None else self._category[item],
            "brand": "" if self._brand is None else self._brand[item],
            "price": _money(self._paid, item),
            "base_price": _money(self._base, item),
            "discount": round(min(max(float(self._discount[item]), 0.0), 1.0), 4),
        }


def _money(amounts: Float32, item: int) -> float | None:
    amount = float(amounts[item])
    return round(amount, 2) if amount > 0 else None

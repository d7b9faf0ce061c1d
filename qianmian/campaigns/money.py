"""Money of campaigns: whole millionths of the data set's currency, so that sums never drift."""

from __future__ import annotations

from typing import Final

MICROS: Final = 1_000_000
#: A CPM bid is the price of so many impressions.
CPM_IMPRESSIONS: Final = 1_000


def micros(amount: float) -> int:
    """Return an amount of money in micros, to the nearest one.

    >>> micros(0.35)
    350000
    """
    return round(amount * MICROS)


def amount(value: int) -> float:
    """Return micros as an amount of money.

    >>> amount(350_000)
    0.35
    """
    return value / MICROS

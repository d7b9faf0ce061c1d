"""Terms of a venue's objective: what an item's score is a weighted sum of.

    score = sum over actions a of w_a * p_a  +  p_order * (w_price * price + w_margin * margin)

`click`, `cart` and `order` weigh the chance of an action; `price` and `margin` weigh what an order
is expected to bring: the venue's price of the item, and what of it is earned.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from qianmian.contracts.events import EventType


class Term(StrEnum):
    """What a weight may be given to."""

    CLICK = EventType.CLICK.value
    CART = EventType.CART.value
    ORDER = EventType.ORDER.value
    PRICE = "price"
    MARGIN = "margin"


#: Terms that are worth money and come with an order.
VALUE_TERMS: Final = (Term.PRICE, Term.MARGIN)

"""The HTTP contract of `POST /v1/inventory`: stock, prices and sale windows as they change.

Each row is judged on its own, so `InventoryRow` is checked row by row and the request holds plain
objects.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from qianmian.contracts import columns as c
from qianmian.contracts.api import Id, _Contract

MAX_ROWS: Final = 500

VenueId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]+$", max_length=256)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
#: What a row may say of an item, beside which item it is.
SAID: Final = (c.STOCK, c.PRICE, c.ON_SALE_FROM, c.ON_SALE_TO)


class InventoryRow(_Contract):
    """What is new of one item. A field left out stays as it is; null takes back what was pushed."""

    item_id: Id
    """The item."""
    venue_id: VenueId | None = None
    """The venue; without it all venues. A venue's own value wins over that of all."""
    stock: Amount | None = None
    """Units left; 0 is sold out."""
    price: Amount | None = None
    """Price of one unit."""
    on_sale_from: AwareDatetime | None = None
    """First moment of sale."""
    on_sale_to: AwareDatetime | None = None
    """First moment after the sale."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set & set(SAID):
            raise ValueError(f"expected at least one of {', '.join(SAID)}")
        if self.on_sale_from and self.on_sale_to and self.on_sale_from >= self.on_sale_to:
            raise ValueError("expected on_sale_from before on_sale_to")
        return self


class InventoryRequest(_Contract):
    """Body of `POST /v1/inventory`."""

    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_ROWS)]
    """Rows as `InventoryRow`; each is judged on its own. Of two on one value the later holds."""


class RejectedRow(_Contract):
    """A row that was not taken."""

    index: int
    """Place in the request, from 0."""
    item_id: str | None
    error: str
    """What field, what value, what was expected."""


class InventoryResponse(_Contract):
    """Answer of `POST /v1/inventory`."""

    accepted: int
    rejected: list[RejectedRow]

"""What an operator may write of which items a shopper may see at all.

Whatever these rules take out is never shown: neither ranked, nor pinned, nor to fill up a page.
Stock, sale windows and prices come from the data set's pool and from `POST /v1/inventory`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from qianmian.config import ConfigModel
from qianmian.contracts import features as f
from qianmian.venues.conditions import Audience, ItemCondition

Reason = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Display(StrEnum):
    """Whether items in some state are shown."""

    HIDE = "hide"
    SHOW = "show"


class PriceBounds(ConfigModel):
    """Prices that the venue shows; an item of unknown price is within none."""

    min: Amount | None = None
    """Lowest price."""
    max: Amount | None = None
    """Highest price."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("expected min <= max")
        return self


class Fatigue(ConfigModel):
    """Items that a shopper was shown again and again without a click on them."""

    times: Annotated[int, Field(ge=1, le=1000)]
    """Showings without a click after which an item is left out."""
    within_days: Annotated[float, Field(gt=0, le=f.EXPOSURE_DAYS)] = 7.0
    """For how long after the last showing; showings are kept no longer."""


class Restriction(ConfigModel):
    """Items that only some shoppers may see."""

    items: ItemCondition
    """The items."""
    audience: Audience
    """Who may see them; a shopper whose tags are unknown may not."""
    reason: Reason = "not_for_audience"
    """What removals are counted under."""


class EligibilityFile(ConfigModel):
    """Which items of the pool a shopper may see."""

    sold_out: Display = Display.HIDE
    """Items whose stock is known to be 0."""
    price: PriceBounds | None = None
    """Bounds of the price."""
    filter: ItemCondition | None = None
    """What every item must meet."""
    coupon_required: bool = False
    """Only items with a coupon of the venue."""
    only_for: tuple[Restriction, ...] = ()
    """Items that only some shoppers may see: coupons for members, products for adults."""
    audience: Audience | None = None
    """Who may see items of this venue at all."""
    region: bool = True
    """Items that name regions are only for shoppers of one of them."""
    bought_within_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    """Items that the shopper bought within this time are left out."""
    fatigue: Fatigue | None = None
    """Items shown often without a click."""
    disliked: Display = Display.HIDE
    """Items that the shopper disliked."""

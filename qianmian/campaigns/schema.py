"""What an operator may write of a campaign: one file of `configs/campaigns/` each.

`qianmian.campaigns.book` reads the files of a data set; which places of a venue are for sale stands
in the venue's own file, see `qianmian.campaigns.places`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, Field, model_validator

from qianmian.config import ConfigModel
from qianmian.contracts.api import Id
from qianmian.venues.conditions import Audience
from qianmian.venues.schema import VenueId, Word

HOURS: Final = 24
Money = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Billing(StrEnum):
    """What is paid for."""

    DAY = "cpd"
    IMPRESSION = "cpm"
    CLICK = "cpc"
    SALE = "cps"


class Pricing(StrEnum):
    """What the winner of a place pays."""

    SECOND_PRICE = "second_price"
    """The least bid with which it would have kept its place."""
    FIXED = "fixed"
    """Its bid."""


class Reserve(StrEnum):
    """What an exposure holds back of the budget until its event can no longer come."""

    WORST_CASE = "worst_case"
    """The whole price: every event within its window is billed."""
    EXPECTED = "expected"
    """What is expected of it, so that a budget is not locked up in clicks that never come. An event
    that finds nothing left of the budget is not billed."""


class Curve(StrEnum):
    """How spending is spread over the flight."""

    EVEN = "even"
    TRAFFIC = "traffic"
    FAST = "fast"


class PacingFile(ConfigModel):
    """How the budget is spread over the flight."""

    curve: Curve = Curve.EVEN
    """`even`: the same each hour; `traffic`: by `hours`; `fast`: as soon as it can be spent."""
    hours: Annotated[tuple[float, ...], Field(max_length=HOURS)] = ()
    """With `traffic`: the weight of each hour of the day (UTC), 24 numbers."""

    @model_validator(mode="after")
    def _matching(self) -> Self:
        if self.curve is Curve.TRAFFIC:
            if len(self.hours) != HOURS or min(self.hours) < 0 or not sum(self.hours):
                raise ValueError("expected hours: 24 weights of at least 0, not all 0")
        elif self.hours:
            raise ValueError("expected hours only with curve: traffic")
        return self


class FrequencyFile(ConfigModel):
    """How often one shopper may see the campaign."""

    impressions: Annotated[int, Field(ge=1, le=1000)]
    """At most so many showings ..."""
    hours: Annotated[float, Field(gt=0, le=24 * 90)]
    """... in so many hours."""


class CampaignFile(ConfigModel):
    """One campaign."""

    campaign: Word
    """Its id, in answers, reports and the ledger."""
    advertiser: Annotated[str, Field(min_length=1)]
    """Who pays."""
    label: Annotated[str, Field(min_length=1, max_length=60)] = "Sponsored"
    """What the page writes on its items."""
    datasets: tuple[str, ...] = ()
    """Data sets it runs on; empty means all."""
    venues: tuple[VenueId, ...] = ()
    """Venues it runs in; empty means all."""
    blocks: tuple[Word, ...] = ()
    """Blocks it runs in; empty means all."""
    items: Annotated[tuple[Id, ...], Field(min_length=1, max_length=500)]
    """Items it may show; the one of most value to it is shown."""
    starts_at: AwareDatetime
    """First moment of the flight."""
    ends_at: AwareDatetime
    """First moment after the flight."""
    budget: Money
    """All it may spend."""
    billing: Billing
    """`cpd`, `cpm`, `cpc` or `cps`."""
    bid: Money
    """The most it pays: for a day, 1000 impressions, a click or a sale."""
    pricing: Pricing = Pricing.SECOND_PRICE
    """`second_price` or `fixed`."""
    assumed_chance: Annotated[float, Field(gt=0, le=1)] | None = None
    """Chance of the billed event where the release in service does not predict it; without it the
    campaign then stays out."""
    reserve: Reserve | None = None
    """Held back for an exposure; null: `worst_case` for cpm, else `expected`."""
    window_minutes: Annotated[float, Field(gt=0, le=60 * 24 * 30)] | None = None
    """The billed event must come within this time; null: 10 for cpm, 60 for cpc, 1440 for cps."""
    pacing: PacingFile = PacingFile()
    """How the budget is spread."""
    frequency: FrequencyFile | None = None
    """How often one shopper may see it."""
    audience: Audience | None = None
    """Who may see it: a condition on user tags; a shopper of whom a tag is not known does not."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.starts_at >= self.ends_at:
            raise ValueError("expected starts_at before ends_at")
        if self.billing is Billing.DAY and self.bid > self.budget:
            raise ValueError("expected a budget that pays at least one day")
        if self.billing is Billing.DAY and self.pacing != PacingFile():
            raise ValueError("expected no pacing: a day is paid as a whole")
        return self

"""A campaign as the request path and the ledger need it: money in micros, times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from qianmian.campaigns.auction import Bid
from qianmian.campaigns.ledger import Activity
from qianmian.campaigns.money import CPM_IMPRESSIONS, micros
from qianmian.campaigns.pacing import SpendPlan
from qianmian.campaigns.schema import Billing, CampaignFile, Curve, Pricing, Reserve
from qianmian.campaigns.wallet import Terms
from qianmian.contracts.events import EventType
from qianmian.venues.conditions import Condition

#: What each kind of billing pays for, and for how long after the showing by default.
BILLED: Final[Mapping[Billing, Activity | None]] = {
    Billing.DAY: None,
    Billing.IMPRESSION: Activity.IMPRESSION,
    Billing.CLICK: Activity.CLICK,
    Billing.SALE: Activity.SALE,
}
_WINDOW_MINUTES: Final = {
    Billing.DAY: 10.0,
    Billing.IMPRESSION: 10.0,
    Billing.CLICK: 60.0,
    Billing.SALE: 1440.0,
}
#: The action whose probability prices the billed event; None where the event is sure.
PRICED_BY: Final[Mapping[Billing, EventType | None]] = {
    Billing.DAY: None,
    Billing.IMPRESSION: None,
    Billing.CLICK: EventType.CLICK,
    Billing.SALE: EventType.ORDER,
}
#: No lease is more than this share of a budget, so that a dead replica never holds much of it.
LARGEST_LEASE: Final = 0.01
LEAST_LEASE_SECONDS: Final = 60.0
_LEASES_A_WINDOW: Final = 100


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most so many showings to one shopper in so many seconds."""

    impressions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign, resolved."""

    id: str
    advertiser: str
    label: str
    venues: frozenset[str]  # empty: all
    blocks: frozenset[str]  # empty: all
    items: tuple[str, ...]
    plan: SpendPlan
    paced: bool
    budget: int
    billing: Billing
    price: int  # the most it pays for its billed event, or for a day
    pricing: Pricing
    assumed_chance: float | None
    worst_case: bool
    window: float
    cap: FrequencyCap | None
    audience: Condition | None

    @classmethod
    def of(cls, file: CampaignFile) -> Campaign:
        """Resolve what the operator wrote."""
        worst = file.billing is Billing.IMPRESSION
        if file.reserve is not None:
            worst = file.reserve is Reserve.WORST_CASE
        minutes = file.window_minutes or _WINDOW_MINUTES[file.billing]
        per = CPM_IMPRESSIONS if file.billing is Billing.IMPRESSION else 1
        frequency = file.frequency
        return cls(
            id=file.campaign,
            advertiser=file.advertiser,
            label=file.label,
            venues=frozenset(file.venues),
            blocks=frozenset(file.blocks),
            items=file.items,
            plan=SpendPlan(
                starts_at=file.starts_at.timestamp(),
                ends_at=file.ends_at.timestamp(),
                hours=file.pacing.hours,
            ),
            paced=file.pacing.curve is not Curve.FAST and file.billing is not Billing.DAY,
            budget=micros(file.budget),
            billing=file.billing,
            price=max(micros(file.bid / per), 1),
            pricing=file.pricing,
            assumed_chance=file.assumed_chance,
            worst_case=worst,
            window=minutes * 60.0,
            cap=FrequencyCap(frequency.impressions, frequency.hours * 3600.0)
            if frequency
            else None,
            audience=file.audience,
        )

    def runs(self, now: float) -> bool:
        """Return whether a moment lies in the flight."""
        return self.plan.starts_at <= now < self.plan.ends_at

    def bid(self, item: int, chance: float, *, participation: float) -> Bid:
        """Return the bid with an item; `chance` is that of the billed event.

        A bought day has no event of its own: such campaigns stand in the order of their day price.
        """
        bought = self.billing is Billing.DAY
        return Bid(
            campaign=self.id,
            item=item,
            chance=1.0 if bought else chance,
            price=float(self.price),
            pricing=self.pricing,
            participation=participation,
            bought=bought,
        )

    def reservation(self, price: int, chance: float) -> int:
        """Return what an exposure holds back of the budget."""
        if self.worst_case:
            return price
        return max(min(round(chance * price), price), 1)

    def terms(self) -> Terms:
        """Return how the campaign is leased."""
        return Terms(
            least=self.price,
            most=max(self.price, round(self.budget * LARGEST_LEASE)),
            seconds=max(LEAST_LEASE_SECONDS, self.window / _LEASES_A_WINDOW),
            window=self.window,
            pooled=not self.worst_case,
        )

    def day(self, now: float) -> str:
        """Return the day (UTC) that a bought day is paid for."""
        return f"{datetime.fromtimestamp(now, tz=UTC):%Y-%m-%d}"

"""What campaigns have spent and what it brought: the numbers of `qianmian campaigns report`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.ledger import Balance, BudgetLedger, Tally
from qianmian.campaigns.money import CPM_IMPRESSIONS, amount
from qianmian.campaigns.pacer import participations

_NOTHING = Balance(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """One campaign at a moment; money in the data set's currency.

    `pacing` is what was committed as a share of the plan by now (1: as planned, None: not begun).
    `ecpm` is what 1000 impressions cost, `return_on_spend` the value of sales for each unit spent.
    """

    campaign: str
    advertiser: str
    billing: str
    state: str
    budget: float
    spent: float
    held: float
    planned: float
    pacing: float | None
    participation: float
    impressions: int
    clicks: int
    sales: int
    sales_value: float
    unbilled: int
    click_rate: float | None
    ecpm: float | None
    return_on_spend: float | None

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain values."""
        return asdict(self)


def report(ledger: BudgetLedger, campaigns: Iterable[Campaign], now: float) -> list[CampaignReport]:
    """Return the report of each campaign.

    Raises:
        EventStoreError: the ledger does not answer.
    """
    held = list(campaigns)
    balances, tallies = ledger.balances(now), ledger.tallies()
    entering = participations(ledger.paces(), held)
    return [
        _report(
            campaign,
            balances.get(campaign.id, _NOTHING),
            [tally for tally in tallies if tally.campaign == campaign.id],
            entering[campaign.id],
            now,
        )
        for campaign in held
    ]


def _report(
    campaign: Campaign, balance: Balance, tallies: list[Tally], entering: float, now: float
) -> CampaignReport:
    impressions = sum(tally.impressions for tally in tallies)
    clicks = sum(tally.clicks for tally in tallies)
    value = sum(tally.sales_value for tally in tallies)
    planned = campaign.plan.share(now) * campaign.budget
    spent = amount(balance.spent)
    return CampaignReport(
        campaign=campaign.id,
        advertiser=campaign.advertiser,
        billing=campaign.billing.value,
        state=_state(campaign, balance, now),
        budget=amount(campaign.budget),
        spent=spent,
        held=amount(balance.held),
        planned=amount(round(planned)),
        pacing=balance.committed / planned if planned and campaign.paced else None,
        participation=entering,
        impressions=impressions,
        clicks=clicks,
        sales=sum(tally.sales for tally in tallies),
        sales_value=amount(value),
        unbilled=sum(tally.unbilled for tally in tallies),
        click_rate=clicks / impressions if impressions else None,
        ecpm=spent / impressions * CPM_IMPRESSIONS if impressions else None,
        return_on_spend=amount(value) / spent if spent else None,
    )


def _state(campaign: Campaign, balance: Balance, now: float) -> str:
    if now < campaign.plan.starts_at:
        return "upcoming"
    if now >= campaign.plan.ends_at:
        return "ended"
    return "spent" if balance.spent + campaign.price > campaign.budget else "running"

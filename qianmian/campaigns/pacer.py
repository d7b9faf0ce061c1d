"""The pacer: one controller for each campaign, its state in the ledger, so it survives restarts.

The stream process steps it; replicas read the participations. Called twice, or by two processes, it
only measures over a shorter time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.ledger import BudgetLedger
from qianmian.campaigns.pacing import OPENING, Pace, PaceController


class Pacer:
    """Steps the controllers of all paced campaigns."""

    def __init__(self, ledger: BudgetLedger, controller: PaceController) -> None:
        self._ledger = ledger
        self._controller = controller

    def step(self, campaigns: Iterable[Campaign], now: float) -> dict[str, Pace]:
        """Take the next step of each campaign and keep it; returns the new states.

        Raises:
            EventStoreError: the ledger does not answer.
        """
        balances, kept = self._ledger.balances(now), self._ledger.paces()
        paces = {
            campaign.id: self._controller.step(
                Pace.from_bytes(kept[campaign.id]) if campaign.id in kept else Pace(),
                plan=campaign.plan,
                budget=campaign.budget,
                committed=balances[campaign.id].committed,
                now=now,
            )
            for campaign in campaigns
            if campaign.paced and campaign.id in balances
        }
        self._ledger.set_paces({campaign: pace.to_bytes() for campaign, pace in paces.items()})
        return paces


def participations(kept: Mapping[str, bytes], campaigns: Iterable[Campaign]) -> dict[str, float]:
    """Return how likely each campaign enters an auction; one without a controller always does."""
    return {
        campaign.id: Pace.from_bytes(kept[campaign.id]).participation
        if campaign.paced and campaign.id in kept
        else (OPENING if campaign.paced else 1.0)
        for campaign in campaigns
    }

"""Selling the sponsored places of one block: who enters, who wins, and on whose money.

The one place where auction, pacing and wallet meet; the request path and the benchmark both sell
through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qianmian.campaigns.auction import Bid, award, rank_bids
from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Sold:
    """A sponsored place: its campaign, item, price of the billed event (micros) and lease.

    `lease_id` is empty where the day was bought. `propensity` is the probability with which the
    campaign got the place, given who could pay. `reserved` is what the lease holds back for it in
    micros, `expected` what it is worth on average.
    """

    campaign: Campaign
    item: int
    price: int
    lease_id: str
    propensity: float
    reserved: int = 0
    expected: float = 0.0

    def give_back(self, wallet: Wallet) -> None:
        """Free the money of a place that is not shown."""
        if self.lease_id:
            wallet.give_back(self.campaign.id, self.lease_id, self.reserved, expected=self.expected)


def sell(
    bids: Sequence[Bid],
    campaigns: Mapping[str, Campaign],
    *,
    places: int,
    reserve: float,
    wallet: Wallet,
    draw: Callable[[], float],
    now: float,
) -> list[Sold]:
    """Sell up to so many places; `reserve` is the least worth of an impression in micros.

    `draw` gives uniform numbers in [0, 1); one is drawn for each campaign that could pay.
    """
    ranked = rank_bids(bids, reserve)
    best: dict[str, Bid] = {}
    for bid in ranked:
        best.setdefault(bid.campaign, bid)
    able = {
        name: bid
        for name, bid in best.items()
        if bid.bought or wallet.can_reserve(name, _most(bid, campaigns), now=now)
    }
    present = {name for name, bid in able.items() if draw() < bid.participation}
    standing = [bid for bid in ranked if bid.campaign in able]
    sold = []
    for win in award(standing, places, reserve=reserve, present=present):
        bid, campaign = win.bid, campaigns[win.bid.campaign]
        if bid.bought:
            sold.append(Sold(campaign, bid.item, win.price, "", win.propensity))
            continue
        amount = campaign.reservation(win.price, bid.chance)
        expected = win.price * bid.chance
        lease_id = wallet.reserve(campaign.id, amount, expected=expected, now=now)
        if lease_id is not None:
            sold.append(
                Sold(campaign, bid.item, win.price, lease_id, win.propensity, amount, expected)
            )
    return sold


def _most(bid: Bid, campaigns: Mapping[str, Campaign]) -> int:
    return campaigns[bid.campaign].reservation(round(bid.price), bid.chance)

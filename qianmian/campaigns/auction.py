"""The auction of the sponsored places of a block: who gets them, at what price, how likely.

A bid is worth `eCPM = bid x p(billed event)` an impression (times a thousand, which changes no
order). Places go to the bids in that order, one for each campaign and item. With second price a
winner pays for its event `max(reserve, worth of the next bid) / p`, the least it would have had to
bid (generalized second price; Edelman, Ostrovsky, Schwarz 2007), never more than its bid. Campaigns
that bought the day stand before those who bid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from qianmian.campaigns.schema import Pricing


@dataclass(frozen=True, slots=True)
class Bid:
    """One campaign with one of its items; `chance` is the probability of the billed event.

    `price` is the most it pays for that event, in micros. `bought` marks a campaign that has paid
    for the day: its exposures cost nothing more.
    """

    campaign: str
    item: int
    chance: float
    price: float
    pricing: Pricing
    participation: float = 1.0
    bought: bool = False

    @property
    def worth(self) -> float:
        """What an impression is worth, in micros."""
        return self.price * self.chance


@dataclass(frozen=True, slots=True)
class Win:
    """A place won: what its billed event costs, and the probability with which it was won."""

    bid: Bid
    price: int
    propensity: float


def rank_bids(bids: Sequence[Bid], reserve: float) -> list[Bid]:
    """Return the bids of enough worth, best first: at most one a campaign, no item twice."""
    ranked: list[Bid] = []
    campaigns: set[str] = set()
    items: set[int] = set()
    for bid in sorted(bids, key=_order):
        if bid.campaign in campaigns or bid.item in items:
            continue
        if not bid.bought and bid.worth < reserve:
            continue
        ranked.append(bid)
        campaigns.add(bid.campaign)
        items.add(bid.item)
    return ranked


def award(
    ranked: Sequence[Bid], places: int, *, reserve: float, present: Collection[str]
) -> Iterator[Win]:
    """Yield the winner of each place in turn, from `rank_bids`; `present` entered this auction."""
    entered = [bid for bid in ranked if bid.campaign in present]
    likely = _propensities(ranked, min(places, len(ranked)))
    for place, bid in enumerate(entered[:places]):
        following = entered[place + 1].worth if place + 1 < len(entered) else 0.0
        propensity = likely[ranked.index(bid)][place]
        yield Win(bid, _price(bid, max(reserve, following)), propensity)


def _order(bid: Bid) -> tuple[bool, float, str, int]:
    return not bid.bought, -bid.worth, bid.campaign, bid.item


def _price(bid: Bid, floor: float) -> int:
    if bid.bought:
        return 0
    if bid.pricing is Pricing.FIXED or not bid.chance:
        return max(round(bid.price), 1)
    return max(min(round(floor / bid.chance), round(bid.price)), 1)


def _propensities(ranked: Sequence[Bid], places: int) -> list[list[float]]:
    """Probability of each bid to get each place, [bids][places].

    A bid is in place `k` if it enters and exactly `k` of the better ones enter; each enters by
    itself, so the number of those follows a Poisson binomial distribution, summed bid by bid.
    """
    before = [1.0] + [0.0] * places
    table = []
    for bid in ranked:
        enters = bid.participation
        table.append([enters * before[place] for place in range(places)])
        before = [
            before[k] * (1.0 - enters) + (before[k - 1] * enters if k else 0.0)
            for k in range(places + 1)
        ]
    return table

"""The auction of the sponsored places of a block: who gets them, at what price, how likely.

A bid is worth `eCPM = bid x p(billed event)` an impression (times a thousand, which changes no
order). Places go to the bids in that order, one for each campaign and item. With second price a
winner pays for its event `max(reserve, worth of the next bid) / p`, the least it would have had to
bid (generalized second price; Edelman, Ostrovsky, Schwarz 2007), never more than its bid. Campaigns
that bought the day stand before those who bid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import Final

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
    """Return the bids of enough worth, best first."""
    return sorted((bid for bid in bids if bid.bought or bid.worth >= reserve), key=_order)


def award(
    ranked: Sequence[Bid], places: int, *, reserve: float, present: Collection[str]
) -> Iterator[Win]:
    """Yield the winner of each place in turn, from `rank_bids`; `present` entered this auction.

    A campaign wins one place at most, and no item stands in two. The next bid is the best that any
    other campaign has left, be it for the same item: it would have taken the place.
    """
    likely = _propensities(ranked, places)
    standing = [bid for bid in ranked if bid.campaign in present]
    for place in range(places):
        if not standing:
            return
        bid = standing[0]
        others = [other for other in standing if other.campaign != bid.campaign]
        following = others[0].worth if others else 0.0
        yield Win(bid, _price(bid, max(reserve, following)), likely[bid.campaign, place])
        standing = [other for other in others if other.item != bid.item]


def _order(bid: Bid) -> tuple[bool, float, str, int]:
    return not bid.bought, -bid.worth, bid.campaign, bid.item


def _price(bid: Bid, floor: float) -> int:
    if bid.bought:
        return 0
    if bid.pricing is Pricing.FIXED or not bid.chance:
        return max(round(bid.price), 1)
    return max(min(round(floor / bid.chance), round(bid.price)), 1)


def _propensities(ranked: Sequence[Bid], places: int) -> Mapping[tuple[str, int], float]:
    """Probability of each campaign to get each place, by both.

    Goes through the bids, best first, with the probability of all that may have come of the better
    ones: how many places are won, and which items and campaigns are gone. A campaign is met with
    its first item that is not gone: it enters and wins, or it stays out. Only what later bids ask
    for is remembered; where items differ that is nothing, and the number of places won follows a
    Poisson binomial distribution. Of more than _OUTCOMES the likeliest are followed up, for many
    campaigns on few items must not take a page's time: what is left out lowers a probability.
    """
    bids = _decisive(ranked)
    last: dict[int | str, int] = {
        name: at for at, bid in enumerate(bids) for name in (bid.item, bid.campaign)
    }
    table: dict[tuple[str, int], float] = defaultdict(float)
    outcomes: dict[_Outcome, float] = {(0, frozenset()): 1.0}
    for at, bid in enumerate(bids):
        both: set[int | str] = {bid.item, bid.campaign}
        later = {name for name in both if last[name] > at}
        following: dict[_Outcome, float] = defaultdict(float)
        for (won, gone), chance in outcomes.items():
            if bid.item in gone or bid.campaign in gone:
                following[won, gone - both | gone & later] += chance
                continue
            enters = chance * bid.participation
            table[bid.campaign, won] += enters
            if enters and won + 1 < places:
                following[won + 1, gone | later] += enters
            if enters < chance:
                following[won, gone | later - {bid.item}] += chance - enters
        outcomes = _likeliest(following)
    return table


_Outcome = tuple[int, frozenset[int | str]]
_OUTCOMES: Final = 32


def _likeliest(outcomes: dict[_Outcome, float]) -> dict[_Outcome, float]:
    if len(outcomes) <= _OUTCOMES:
        return outcomes
    return dict(nlargest(_OUTCOMES, outcomes.items(), key=itemgetter(1)))


def _decisive(ranked: Sequence[Bid]) -> list[Bid]:
    """Leave out the bids of a campaign below its first one that no better bid can take away."""
    decisive: list[Bid] = []
    asked: set[int] = set()
    sure: set[str] = set()
    for bid in ranked:
        if bid.campaign in sure:
            continue
        decisive.append(bid)
        if bid.item not in asked:
            sure.add(bid.campaign)
        asked.add(bid.item)
    return decisive

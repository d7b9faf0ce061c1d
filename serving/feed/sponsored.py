"""The sponsored places of a page: which campaign with which item stands in each, and what it costs.

    who runs here and may be shown to this shopper -> the chance of its billed event for each of its
    items -> relevance floor against the organic page -> auction -> reserve the money -> the page is
    laid out -> count what it shows, give back what it does not

Only items that the block may show this shopper take part. Money is reserved from the replica's
leases in memory; the charge comes with the event, by the attribution token.

Shapes: `M` items of campaigns, `A` actions, `n` items of the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import numpy as np

from qianmian.campaigns.auction import Bid
from qianmian.campaigns.campaign import BILLED, PRICED_BY, Campaign
from qianmian.campaigns.frequency import Showing
from qianmian.campaigns.money import CPM_IMPRESSIONS, micros
from qianmian.campaigns.places import SponsoredFile
from qianmian.campaigns.selling import Sold, sell
from qianmian.contracts.events import EventType
from qianmian.distinct import distinct
from qianmian.features.item_table import Float32, Int32
from qianmian.retrieval.sources import FALLBACK, SOURCE_CODE, Candidates
from serving.feed.eligibility import NOT_IN_AUDIENCE, in_audience
from serving.feed.filters import Mask, apply
from serving.feed.listing import Listing
from serving.feed.market import Market
from serving.feed.page import Choice, FixedSlot, FixedSlots, Page
from serving.feed.query import Query
from serving.feed.resident import ResidentRelease
from serving.feed.tokens import SPONSORED, Special
from serving.feed.users import HydratedUser

#: Why a campaign did not take part, besides the reasons of filters.
CAPPED: Final = "capped"
BELOW_FLOOR: Final = "below_floor"
UNPRICED: Final = "unpriced"
NOT_ELIGIBLE: Final = "not_eligible"
#: Items of one campaign that stand for auction: more than one, for another may take the first.
_ITEMS_BID: Final = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """The places for sale on one block's page, and what the block may show."""

    choice: Choice
    places: Sequence[int]  # positions on this page
    file: SponsoredFile


def offers_of(query: Query, listings: Sequence[Listing], release: ResidentRelease) -> list[Offer]:
    """Return the places for sale on the pages that a request asks for.

    Where nothing ranked the organic items, nothing is for sale: relevance could not be judged.
    """
    offers = []
    pool = release.pools[query.venue.id]
    for plan, listing in zip(query.blocks, listings, strict=True):
        file = query.venue.sponsored.get(plan.block_id)
        if file is None or not listing.ranking.probabilities.size:
            continue
        choice = Choice(plan, query, listing, release, pool)
        if places := _places(choice, file):
            offers.append(Offer(choice, places, file))
    return offers


def _places(choice: Choice, file: SponsoredFile) -> list[int]:
    """Return the positions of this page that are for sale: no pin's, and within the block's reach.

    A block that ends with its candidates shows advertised items besides them.
    """
    plan = choice.plan
    pinned = {pin.position for pin in plan.block.rules.pins}
    last = plan.offset + plan.page_size
    places = [p for p in file.positions if plan.offset < p <= last and p not in pinned]
    if not places:
        return places
    end = plan.offset + choice.count(places[-1] - plan.offset)
    besides = 0 if choice.listing.fills else 1
    return [p for sold, p in enumerate(places, 1) if p <= end + besides * sold]


def _organic(choice: Choice) -> Float32:
    """Return the chances of the ranked items that this page would show [page, A].

    Where it has fill-up alone, which nothing ranked, the last ranked ones stand for it.
    """
    size, chances = choice.plan.page_size, choice.listing.ranking.probabilities
    kept = chances[choice.kept][:size]
    return kept if len(kept) else chances[-size:]


class Sales:
    """The sponsored places of one request: sold first, settled when it is known what is shown."""

    def __init__(
        self,
        query: Query,
        user: HydratedUser,
        release: ResidentRelease,
        market: Market,
        draw: Callable[[], float],
    ) -> None:
        """`draw` gives uniform numbers in [0, 1)."""
        self._query = query
        self._user = user
        self._release = release
        self._market = market
        self._edition = market.edition
        self._draw = draw
        self._actions = release.bundle.actions
        self._unsettled: list[Sold] = []  # one of a campaign at most
        self.left_out: Counter[str] = Counter()  # campaigns, by reason

    def sell(self, offers: Sequence[Offer]) -> FixedSlots:
        """Return what was sold, by block and position; pins come first.

        Raises:
            EventStoreError: the showings that frequency caps count cannot be read.
        """
        if not offers:
            return {}
        running = self._willing(
            self._market.running(self._edition, self._query.venue.id, self._query.now)
        )
        sold: dict[str, dict[int, FixedSlot]] = {}
        taken = self._pinned()
        for offer in offers:
            block_id = offer.choice.plan.block_id
            here = [c for c in running if not c.blocks or block_id in c.blocks]
            if not here:
                continue
            wins = self._auction(offer, here, taken)
            if not wins:
                continue
            self._unsettled += wins
            gone = {win.campaign.id for win in wins}
            running = [campaign for campaign in running if campaign.id not in gone]
            taken |= {win.item for win in wins}
            sold[block_id] = {
                place: self._slot(win) for place, win in zip(offer.places, wins, strict=False)
            }
        return sold

    def settle(self, pages: Sequence[Page]) -> list[str]:
        """Count what stands on the pages as shown, give back what does not.

        Returns the campaigns that are shown. Nothing is left to settle then.
        """
        placed = {slot.special.campaign_id for page in pages for slot in page.fixed.values()}
        shown = []
        for sold in self._unsettled:
            if sold.campaign.id in placed:
                shown.append(sold.campaign)
            else:
                sold.give_back(self._market.wallet)
        self._unsettled = []
        self._remember(shown)
        return [campaign.id for campaign in shown]

    def _pinned(self) -> set[int]:
        """Return the items that the venue has pinned anywhere on the page."""
        pins = [pin.item_id for plan in self._query.blocks for pin in plan.block.rules.pins]
        return set(self._release.bundle.items.indices_of(pins).tolist()) if pins else set()

    def _willing(self, running: Sequence[Campaign]) -> list[Campaign]:
        """Return the campaigns that may be shown to this shopper."""
        state = self._user.state
        willing = [c for c in running if c.audience is None or in_audience(c.audience, state)]
        self._leave_out(NOT_IN_AUDIENCE, len(running) - len(willing))
        spans = {c.id: c.cap.seconds for c in willing if c.cap is not None}
        if not spans:
            return willing
        counts = Counter[str]()
        for member in self._query.members:
            counts.update(self._market.showings.count(member, self._query.now, spans))
        capped = {c.id for c in willing if c.cap and counts[c.id] >= c.cap.impressions}
        self._leave_out(CAPPED, len(capped))
        return [campaign for campaign in willing if campaign.id not in capped]

    def _auction(self, offer: Offer, running: Sequence[Campaign], taken: set[int]) -> list[Sold]:
        bids: list[Bid] = []
        items, chances = self._chances()
        may = offer.choice.listing.allowed[items]
        may &= apply(offer.choice.filters, items, Counter())
        may &= ~np.isin(items, np.fromiter(taken, dtype=np.int32, count=len(taken)))
        for campaign in running:
            bids += self._bids(campaign, offer, items, chances, may)
        return sell(
            bids,
            self._edition.campaigns,
            places=len(offer.places),
            reserve=micros(offer.file.reserve_price / CPM_IMPRESSIONS),
            wallet=self._market.wallet,
            draw=self._draw,
            now=self._query.now,
        )

    def _bids(
        self, campaign: Campaign, offer: Offer, items: Int32, chances: Float32, may: Mask
    ) -> list[Bid]:
        """Return a bid for each of the campaign's best items that are relevant enough here."""
        own = self._items_of(campaign)
        rows = np.searchsorted(items, own)
        rows = rows[may[rows]]
        if not len(rows):
            self._leave_out(NOT_ELIGIBLE, 1)
            return []
        judged_by = self._column(PRICED_BY[campaign.billing] or EventType.CLICK)
        column = max(judged_by, 0)
        floor = offer.file.floor * float(np.median(_organic(offer.choice)[:, column]))
        rows = rows[chances[rows, column] >= floor]
        if not len(rows):
            self._leave_out(BELOW_FLOOR, 1)
            return []
        rows = rows[np.argsort(-chances[rows, column], kind="stable")][:_ITEMS_BID]
        if PRICED_BY[campaign.billing] is None:
            priced = [1.0] * len(rows)
        elif judged_by >= 0:
            priced = chances[rows, column].astype(float).tolist()
        elif campaign.assumed_chance is not None:
            priced = [campaign.assumed_chance] * len(rows)
        else:
            self._leave_out(UNPRICED, 1)
            return []
        participation = self._market.participation(campaign)
        return [
            campaign.bid(int(items[row]), chance, participation=participation)
            for row, chance in zip(rows, priced, strict=True)
        ]

    def _chances(self) -> tuple[Int32, Float32]:
        """Return all items of the venue's campaigns, rising [M], and their chances [M, A].

        The ranker scores them once for a user, as it scores candidates.
        """
        bundle, query = self._release.bundle, self._query
        here = [
            self._items_of(campaign)
            for campaign in self._edition.campaigns.values()
            if not campaign.venues or query.venue.id in campaign.venues
        ]
        items = distinct(np.concatenate(here)).astype(np.int32)
        key = query.venue.id, self._edition.version
        held = self._user.offered
        if held is not None and held[0] == key:
            return items, held[1]
        state = self._user.state
        candidates = Candidates(
            items=items,
            source=np.full(len(items), SOURCE_CODE[FALLBACK], dtype=np.int8),
            retrieval=bundle.scale.scores(
                bundle.user_vector(state, query.now), bundle.vectors[items]
            ),
            neighbour=bundle.neighbours.scores(state.ledger)[items],
            factor=bundle.factors.scores(state.ledger, items),
        )
        chances = bundle.rank(state, candidates, query.now)
        self._user.offered = key, chances
        return items, chances

    def _items_of(self, campaign: Campaign) -> Int32:
        table = self._release.bundle.items
        return self._market.items_of(self._edition, campaign, self._release.id, table)

    def _column(self, action: EventType) -> int:
        """Return the column of an action, -1 where the release does not predict it."""
        return self._actions.index(action) if action in self._actions else -1

    def _slot(self, sold: Sold) -> FixedSlot:
        campaign = sold.campaign
        billed = BILLED[campaign.billing]
        until = self._query.now + campaign.window
        sale = (sold.lease_id, sold.price, "" if billed is None else str(billed), until)
        special = Special(SPONSORED, campaign.id, sale)
        return FixedSlot(sold.item, special, sold.propensity, campaign.label)

    def _remember(self, shown: Sequence[Campaign]) -> None:
        subject = self._query.subject_id
        if subject is None:
            return
        self._market.showings.show(
            Showing(subject, campaign.id, self._query.now, uuid4().hex)
            for campaign in shown
            if campaign.cap is not None
        )

    def _leave_out(self, reason: str, campaigns: int) -> None:
        if campaigns:
            self.left_out[reason] += campaigns

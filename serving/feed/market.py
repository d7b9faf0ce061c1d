"""What a replica knows of campaigns: who runs where, with how much money, how eagerly.

A request reads it from memory. A background thread refreshes it each second: campaign files,
leases, participations, bought days, and the showings that frequency caps count. While the ledger
does not answer, places are sold from the leases at hand, and then stay organic.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Final, NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, Gauge

from qianmian.campaigns.book import CampaignBook, Edition
from qianmian.campaigns.campaign import BILLED, Campaign
from qianmian.campaigns.frequency import LONGEST_SECONDS, FrequencyMemory
from qianmian.campaigns.pacer import participations
from qianmian.campaigns.purse import Purse
from qianmian.campaigns.wallet import Wallet
from qianmian.distinct import distinct
from qianmian.errors import EventStoreError
from qianmian.features.item_table import Int32, ItemTable

log = logging.getLogger(__name__)

_RELEASES: Final = 4  # whose item indices are remembered
_TRIM_SECONDS: Final = 3_600.0


class Reads(NamedTuple):
    """What a page needs of a store that may be slow: another thread runs it, or it is given up."""

    run: Callable[[], None]
    give_up: Callable[[], None]


class Market:
    """The campaigns as one replica sees them."""

    def __init__(
        self,
        book: CampaignBook,
        purse: Purse,
        *,
        holder: str,
        now: Callable[[], float],
        on_failure: Callable[[str], object],
        registry: CollectorRegistry,
        every: float = 1.0,
    ) -> None:
        """`holder` names this replica and start of it, `now` is the service's clock."""
        self.wallet = Wallet(purse.ledger, holder=holder)
        self.showings = FrequencyMemory(purse.showings)
        self._book = book
        self._purse = purse
        self._now = now
        self._every = every
        self._on_failure = on_failure
        self._gauge = Gauge(
            "qianmian_campaign_participation",
            "Probability with which a campaign enters an auction",
            ["campaign"],
            registry=registry,
        )
        self._faults = Gauge(
            "qianmian_campaign_files_refused",
            "Campaign files that are not in force as they stand",
            registry=registry,
        )
        self._participations: Mapping[str, float] = {}
        self._bought: frozenset[tuple[str, str]] = frozenset()  # campaign, day
        self._wanted_days: set[tuple[str, str]] = set()  # campaign, day
        self._funded: int | None = None
        self._trimmed_at: float | None = None
        self._items: dict[tuple[str, int], dict[str, Int32]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="market", daemon=True)

    @property
    def refused(self) -> dict[str, str]:
        """The faults of campaign files that are not in force as they stand, by path."""
        return dict(self._book.refused)

    # -- within a request -----------------------------------------------------------------------

    @property
    def edition(self) -> Edition:
        """All campaigns of the data set; a request takes them once."""
        return self._book.current

    def running(self, edition: Edition, venue_id: str, now: float) -> list[Campaign]:
        """Return the campaigns that may be shown in a venue at a moment and are not out of days."""
        return [
            campaign
            for campaign in edition.campaigns.values()
            if campaign.runs(now)
            and (not campaign.venues or venue_id in campaign.venues)
            and self._has_day(campaign, now)
        ]

    def reads(self, members: Sequence[str], venue_id: str, now: float) -> Reads | None:
        """Return what must be read before places can be sold to a shopper; None for nothing.

        `members` are the subjects that count as the shopper.
        """
        campaigns = self.edition.campaigns.values()
        capped = any(
            one.cap is not None and one.runs(now) and (not one.venues or venue_id in one.venues)
            for one in campaigns
        )
        unread = [one for one in members if not self.showings.knows(one)] if capped else []
        return Reads(partial(self._read, unread), self.showings.give_up) if unread else None

    def participation(self, campaign: Campaign) -> float:
        """Return the probability with which a campaign enters an auction."""
        return self._participations.get(campaign.id, 0.0 if campaign.paced else 1.0)

    def items_of(
        self, edition: Edition, campaign: Campaign, release_id: str, table: ItemTable
    ) -> Int32:
        """Return the items of a campaign that a release knows, as item indices."""
        key = release_id, edition.version
        made = self._items.get(key)
        if made is None:
            if len(self._items) >= _RELEASES:
                self._items.clear()
            made = self._items[key] = {}
        items = made.get(campaign.id)
        if items is None:
            indices = table.indices_of(campaign.items)
            items = made[campaign.id] = distinct(indices[indices >= 0]).astype(np.int32)
        return items

    def _has_day(self, campaign: Campaign, now: float) -> bool:
        """Return whether the day is paid for, where that is what is paid; else it is asked for."""
        if BILLED[campaign.billing] is not None:
            return True
        day = campaign.id, campaign.day(now)
        if day in self._bought:
            return True
        self._wanted_days.add(day)
        return False

    def _read(self, members: Sequence[str]) -> None:
        for member in members:
            self.showings.read(member)

    # -- beside requests ------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take in what changed and give account; errors of the engine are counted and passed by."""
        now = self._now()
        self._book.refresh()
        self._faults.set(len(self._book.refused))
        version, campaigns = self.edition
        try:
            if self._funded != version:
                budgets = {campaign.id: campaign.budget for campaign in campaigns.values()}
                self._purse.ledger.fund(budgets)
                self._funded = version
            running = [c for c in campaigns.values() if c.runs(now) and BILLED[c.billing]]
            self.wallet.refresh({campaign.id: campaign.terms() for campaign in running}, now)
            self._participations = participations(self._purse.ledger.paces(), campaigns.values())
            for name, participation in self._participations.items():
                self._gauge.labels(name).set(participation)
            self._buy_days(now)
            self.showings.write()
            self._trim(now)
        except EventStoreError as error:
            log.warning("campaigns go on from memory: %s", error)
            self._on_failure("campaigns_unavailable")

    def start(self) -> None:
        """Refresh now, and from now on."""
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Stop, give back the leases and let go of the stores."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self.wallet.settle_all()
            self.showings.write()
        except EventStoreError as error:  # the leases run out by themselves
            log.warning("leases could not be given back: %s", error)
        self._purse.shut()

    def _buy_days(self, now: float) -> None:
        """Buy what requests asked for, unless its day or the flight ended while it waited."""
        wanted, self._wanted_days = self._wanted_days, set()
        bought = set(self._bought)
        campaigns = self.edition.campaigns
        for name, day in sorted(wanted):
            campaign = campaigns.get(name)
            if campaign is None or not campaign.runs(now) or campaign.day(now) != day:
                continue
            if self._purse.ledger.buy_day(name, day, campaign.price, now):
                bought.add((name, day))
        self._bought = frozenset(bought)

    def _trim(self, now: float) -> None:
        """Drop showings that no cap looks back on, once an hour."""
        if self._trimmed_at is None or now >= self._trimmed_at + _TRIM_SECONDS:
            self._purse.showings.trim(now - LONGEST_SECONDS)
            self._trimmed_at = now

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            began = monotonic()
            try:
                self.refresh()
            except Exception:  # the thread must go on, or every lease would run out
                log.exception("refreshing the campaigns failed")
                self._on_failure("campaigns_failed")
            log.debug("campaigns refreshed in %.3f s", monotonic() - began)

"""The wallet of a replica: leased money in memory, so that a request reserves without waiting.

`reserve` and `give_back` are called within a request and touch memory only. `refresh` is called by
a background thread each second or so: it settles leases that are used up or ran out, reports what
the others are worth so far, and takes new ones. What is lost with a dead replica is bounded by its
leases.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from qianmian.campaigns.ledger import BudgetLedger, Lease, LeaseRequest, Usage

#: Leases are renewed when what is at hand lasts less than this many seconds at the rate of late.
_LOW_SECONDS: Final = 5.0
#: Seconds after which an observed rate of reserving counts half.
_RATE_MEMORY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How a campaign is leased; amounts in micros, times in seconds.

    `most` and `least` bound one lease; `least` is the largest amount that one exposure reserves.
    A lease may be used for `seconds`; `pooled` is explained in `qianmian.campaigns.ledger`.
    """

    least: int
    most: int
    seconds: float
    window: float
    pooled: bool = False


@dataclass(slots=True, eq=False)
class _Open:
    """A lease in use; `left` is what exposures may still reserve."""

    lease: Lease
    left: int
    expected: float = 0.0
    last_used_at: float = 0.0
    told: float = 0.0

    def changed(self) -> bool:
        """Return whether the ledger was told another expectation than this."""
        before, self.told = self.told, self.expected
        return before != self.expected

    def usage(self, *, done: bool) -> Usage:
        used = self.lease.amount - self.left
        return Usage(self.lease.lease_id, used, round(self.expected), self.last_used_at, done)


class Wallet:
    """Leases of one replica by campaign; safe for several threads."""

    def __init__(
        self, ledger: BudgetLedger, *, holder: str, margin: float = 1.0, low: float = _LOW_SECONDS
    ) -> None:
        """`holder` names this replica and start of it.

        `margin` seconds before its end a lease is no longer used, for clocks differ a little. A
        lease is renewed when what is at hand would not last for `low` seconds.
        """
        self._ledger = ledger
        self._holder = holder
        self._low = low
        self._margin = margin
        self._lock = threading.Lock()
        self._open: dict[str, list[_Open]] = defaultdict(list)
        self._done: list[_Open] = []  # out of use, not settled yet
        self._wanted: dict[str, int] = defaultdict(int)  # asked for since the last refresh
        self._largest: dict[str, int] = defaultdict(int)  # of one exposure, since then
        self._rate: dict[str, float] = defaultdict(float)  # asked for a second, of late
        self._refreshed_at: float | None = None

    def reserve(self, campaign: str, amount: int, *, expected: float, now: float) -> str | None:
        """Hold back an amount for one exposure; returns its lease, None if nothing is at hand.

        `expected` is what the exposure is worth on average; pacing counts it.
        """
        with self._lock:
            self._wanted[campaign] += amount
            self._largest[campaign] = max(self._largest[campaign], amount)
            held = self._lease_for(campaign, amount, now)
            if held is None:
                return None
            held.left -= amount
            held.expected += expected
            held.last_used_at = max(held.last_used_at, now)
            return held.lease.lease_id

    def give_back(self, campaign: str, lease_id: str, amount: int, *, expected: float) -> None:
        """Undo `reserve` for an exposure that was not made.

        What is on a lease that is out of use already stays held until the lease closes.
        """
        with self._lock:
            for held in self._open.get(campaign, ()):
                if held.lease.lease_id == lease_id:
                    held.left += amount
                    held.expected -= expected
            self._wanted[campaign] = max(self._wanted[campaign] - amount, 0)

    def can_reserve(self, campaign: str, amount: int, *, now: float) -> bool:
        """Return whether `reserve` would succeed; where it would not, the want is remembered."""
        with self._lock:
            self._largest[campaign] = max(self._largest[campaign], amount)
            if self._lease_for(campaign, amount, now):
                return True
            self._wanted[campaign] += amount
            return False

    def refresh(self, terms: Mapping[str, Terms], now: float) -> None:
        """Settle, report and lease; `terms` are those of the campaigns that run now.

        Raises:
            EventStoreError: the ledger does not answer; nothing is lost, the next call goes on.
        """
        with self._lock:
            self._put_aside(terms, now)
            settling = list(self._done)
            going = [held for leases in self._open.values() for held in leases]
            usages = [held.usage(done=True) for held in settling]
            usages += [held.usage(done=False) for held in going if held.changed()]
            requests = self._requests(terms, now)
        if usages:
            self._ledger.report(usages)
        granted = self._ledger.lease(self._holder, requests, now) if requests else []
        with self._lock:
            self._done = [held for held in self._done if held not in settling]
            for lease in granted:
                self._open[lease.campaign].append(_Open(lease, lease.amount))

    def settle_all(self) -> None:
        """Give everything back: the replica ends."""
        with self._lock:
            done = [held for leases in self._open.values() for held in leases] + self._done
            self._open.clear()
            self._done = []
        self._ledger.report([held.usage(done=True) for held in done])

    def _lease_for(self, campaign: str, amount: int, now: float) -> _Open | None:
        for held in self._open.get(campaign, ()):
            if held.left >= amount and now < held.lease.expires_at - self._margin:
                return held
        return None

    def _put_aside(self, terms: Mapping[str, Terms], now: float) -> None:
        """Take out of use what ran out, holds too little, or is of a campaign that ended."""
        for campaign, leases in list(self._open.items()):
            least = max(self._largest.pop(campaign, 0), 1)
            kept = [
                held
                for held in leases
                if campaign in terms
                and held.left >= least
                and now < held.lease.expires_at - self._margin
            ]
            self._done += [held for held in leases if held not in kept]
            self._open[campaign] = kept

    def _requests(self, terms: Mapping[str, Terms], now: float) -> list[LeaseRequest]:
        seconds = 0.0 if self._refreshed_at is None else max(now - self._refreshed_at, 0.0)
        self._refreshed_at = now
        keep = 0.5 ** (seconds / _RATE_MEMORY)
        requests = []
        for campaign, term in terms.items():
            if seconds:
                seen = self._wanted.pop(campaign, 0) / seconds
                self._rate[campaign] = max(seen, keep * self._rate[campaign] + (1 - keep) * seen)
            rate = self._rate[campaign]
            at_hand = sum(held.left for held in self._open.get(campaign, ()))
            if at_hand < max(rate * self._low, 1.0):
                amount = max(min(round(rate * term.seconds), term.most), term.least)
                requests.append(
                    LeaseRequest(
                        campaign, amount, term.least, term.seconds, term.window, term.pooled
                    )
                )
        return requests

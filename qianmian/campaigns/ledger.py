"""The budget ledger: what every campaign has spent and what replicas may still spend of it.

A replica never asks the ledger within a request. It *leases* small amounts of a budget ahead, puts
exposures on a lease from memory, and settles the lease later. What came of an exposure is charged
when its event arrives through the log. Words, all amounts in micros:

    free     = budget - spent - held, what can still be leased
    held     = what leases still hold back for charges that may come
    reserve  = of an open lease all of it, for its holder may have died with it in use;
               of a settled lease what its exposures reserved; of a closed lease nothing
    spent    = the sum of all charges

A lease is *whole* or *pooled*. Exposures on a whole one reserve their price, and nobody else can
touch it: every event within its window is billed. Exposures on pooled ones reserve what is expected
of them, the pooled leases of a campaign stand in for one another, and they let go of what is left a
quarter (`ANSWERED`) of the window after their last use, for by then nearly all events have come. A
charge is made from its own lease, then from the pool, then from what is free, else not at all.

Every operation is one durable transaction and keeps `spent + held <= budget` (after a budget was
cut below that, nothing new is leased or charged beyond what was held). A lease closes once no
charge for its exposures can come any more: the attribution window after the last moment at which
it could have been used. So a budget cannot be overspent, whoever dies when.

Its implementations keep one protocol and pass one conformance suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

#: For so long the ledger knows at least which events and exposures were charged.
IDEMPOTENCE_SECONDS: Final = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """What a replica asks for: up to `amount`, nothing below `least`.

    The lease may be used until `seconds` from now; charges for its exposures come within `window`
    seconds of their exposure. `pooled`: see above.
    """

    campaign: str
    amount: int
    least: int
    seconds: float
    window: float
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """An amount of a budget that one replica may put exposures on before `expires_at`."""

    lease_id: str
    campaign: str
    amount: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a replica has done with a lease: reserved by its exposures, and expected of them.

    `done` says that no exposure will be put on it any more; the rest of it becomes free.
    """

    lease_id: str
    used: int
    expected: int
    last_used_at: float
    done: bool


class Activity(StrEnum):
    """What is counted of a campaign."""

    IMPRESSION = "impression"
    CLICK = "click"
    SALE = "sale"


class Verdict(StrEnum):
    """What became of a charge."""

    BILLED = "billed"
    REPEATED = "repeated"
    """The exposure was charged before, by another event."""
    LATE = "late"
    """The event came after the attribution window, when nothing was held for it any more."""
    UNFUNDED = "unfunded"
    """More came than was reserved, and nothing of the budget was free."""
    FREE = "free"
    """The campaign does not pay for this kind of event."""


@dataclass(frozen=True, slots=True)
class SponsoredEvent:
    """An event on a sponsored position; `price` is None where the campaign pays for other events.

    `exposure` names the showing it belongs to: an exposure is charged once.
    """

    event_id: str
    campaign: str
    activity: Activity
    at: float
    value: int
    exposure: str
    lease_id: str
    price: int | None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """A budget at a moment; `expected` is what is still to come of what was shown."""

    budget: int
    spent: int
    held: int
    expected: int

    @property
    def free(self) -> int:
        """What may still be leased."""
        return max(self.budget - self.spent - self.held, 0)

    @property
    def committed(self) -> int:
        """What pacing counts as gone: the charges, and those still to be expected."""
        return self.spent + self.expected


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of a campaign in one hour (`hour` in hours since the epoch)."""

    campaign: str
    hour: int
    impressions: int
    clicks: int
    sales: int
    sales_value: int
    spent: int
    unbilled: int


#: Share of a window within which nearly all that is expected of a showing has come.
ANSWERED: Final = 0.25
#: The counter of each activity.
COLUMN: Final = {
    Activity.IMPRESSION: "impressions",
    Activity.CLICK: "clicks",
    Activity.SALE: "sales",
}


def day_charge(campaign: str, day: str) -> str:
    """Return what stands for the event id of the charge for a day."""
    return f"day/{campaign}/{day}"


class BudgetLedger(Protocol):
    """Durable money of all campaigns of a data set."""

    def fund(self, budgets: Mapping[str, int]) -> None:
        """Set the budgets of these campaigns; a campaign is known from then on."""

    def lease(self, holder: str, requests: Sequence[LeaseRequest], now: float) -> list[Lease]:
        """Grant what is free, the smaller of asked and free; nothing for a request below `least`.

        The lease of a request that got nothing is left out.
        """

    def report(self, usages: Sequence[Usage]) -> None:
        """Note what was done with leases; settles those that are done. Repeating it is harmless."""

    def buy_day(self, campaign: str, day: str, price: int, now: float) -> bool:
        """Charge the price of a day once; False if the budget cannot pay it."""

    def book(self, events: Sequence[SponsoredEvent], *, after: str, cursor: str) -> list[Verdict]:
        """Count and charge the events of the log between two cursors; one verdict each.

        The cursor moves in the same transaction. Where the ledger does not stand at `after`,
        another reader was faster: nothing is booked, and the answer is empty. A charge is made
        once for its event id and once for its exposure.
        """

    def cursor(self) -> str:
        """Return the cursor of the last `book`; empty before the first."""

    def close(self, now: float) -> int:
        """Close the leases that no charge can reach any more; returns how many.

        Pooled leases let go of what is left of them before.
        """

    def balances(self, now: float) -> dict[str, Balance]:
        """Return every budget by campaign.

        What a lease expects counts in full while it is in use, and less and less until a quarter
        (`ANSWERED`) of its window has passed since its last use, for most events come early.
        """

    def tallies(self) -> list[Tally]:
        """Return what was counted, by campaign and hour."""

    def set_paces(self, paces: Mapping[str, bytes]) -> None:
        """Keep the state of the pacing of these campaigns."""

    def paces(self) -> dict[str, bytes]:
        """Return the state of the pacing by campaign."""

    def shut(self) -> None:
        """Let go of the connection."""

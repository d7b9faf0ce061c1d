"""Billing: what the log says of sponsored places becomes charges; leases close; budgets are paced.

A part of the stream process. It reads the log itself, from the cursor that the ledger keeps in the
same transaction as the charges: each event is counted and charged once, whatever happens between.
It follows the group that judges events, so that what is implausible is known when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.ledger import Activity, BudgetLedger, SponsoredEvent, Verdict
from qianmian.campaigns.money import micros
from qianmian.campaigns.pacer import Pacer
from qianmian.campaigns.pacing import PaceController
from qianmian.contracts.events import EventType
from qianmian.events.event import StoredEvent
from qianmian.events.follower import Follower
from qianmian.events.store import EventStore

#: Whose checkpoint in the log it is; the one that counts stands in the ledger.
GROUP: Final = "billing"
#: An event may have been received so long before it stands in the log.
GRACE_SECONDS: Final = 5.0
_ACTIVITY: Final[Mapping[str, Activity]] = {
    EventType.IMPRESSION: Activity.IMPRESSION,
    EventType.CLICK: Activity.CLICK,
    EventType.ORDER: Activity.SALE,
}


class Billing:
    """Charges campaigns by the event log (`qianmian.stream.part.Part`)."""

    def __init__(
        self,
        log: EventStore,
        ledger: BudgetLedger,
        book: CampaignBook,
        *,
        implausible: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
        controller: PaceController | None = None,
        pace_seconds: float = 5.0,
        behind: str | None = None,
        page: int = 5_000,
    ) -> None:
        """`implausible` tells which events are flagged; they are neither charged nor counted.

        `behind` names the group of the log that has them flagged: what it did not commit yet is not
        charged yet; None charges all that the log holds. An event that is flagged after it was
        charged stays charged.
        """
        self._implausible = implausible
        self._follower = Follower(log, GROUP, behind=behind, page=page)
        self._ledger = ledger
        self._book = book
        self._pacer = Pacer(ledger, controller or PaceController())
        self._pace_seconds = pace_seconds
        self._settled_at: float | None = None
        self._funded: int | None = None

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Keep nothing: the ledger knows how far it has come."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Keep nothing: `flush` reads from the ledger's own cursor."""

    def flush(self, now: float) -> None:
        """Charge what is new in the log, then close leases and pace, where that is due.

        Raises:
            EventStoreError: the log or the ledger does not answer.
        """
        self._fund()
        self.charge()
        set_back = self._settled_at is not None and now < self._settled_at
        if self._settled_at is None or set_back or now >= self._settled_at + self._pace_seconds:
            self._settled_at = now
            self._ledger.close(now - GRACE_SECONDS)
            self._pacer.step(self._book.campaigns.values(), now)

    def charge(self) -> list[Verdict]:
        """Charge what may be charged of the log behind the ledger's cursor."""
        verdicts: list[Verdict] = []
        while True:
            after = self._ledger.cursor()
            events, cursor = self._follower.read(after)
            if not events:
                return verdicts
            sold = list(sponsored(events))
            flagged = self._implausible([event.event_id for event in sold]) if sold else ()
            sound = [event for event in sold if event.event_id not in flagged]
            verdicts += self._ledger.book(sound, after=after, cursor=cursor)
            self._follower.commit(cursor)

    def _fund(self) -> None:
        self._book.refresh()
        if self._funded != self._book.version:
            self._ledger.fund({one.id: one.budget for one in self._book.campaigns.values()})
            self._funded = self._book.version


def sponsored(events: Iterable[StoredEvent]) -> Iterable[SponsoredEvent]:
    """Return what of the events is about sponsored places; the token vouches for it."""
    for event in events:
        activity = _ACTIVITY.get(event.event_type)
        if event.sale is None or event.campaign_id is None or activity is None:
            continue
        if event.quarantine is not None:
            continue
        lease_id, price, billed, until = event.sale
        yield SponsoredEvent(
            event_id=event.event_id,
            campaign=event.campaign_id,
            activity=activity,
            at=event.received_at,
            value=micros(event.value or 0.0),
            exposure=f"{event.recommendation_id}/{event.campaign_id}",
            lease_id=lease_id,
            price=price if activity == billed else None,
            late=event.received_at > until,
        )

"""Orders are honoured at the door: who bought something does not see it offered again.

Once an order is in the log, the pages of this replica know it, before the sender has the answer;
the other replicas learn of it from the topic `bought` within their next look. Where the topic
cannot be written, the stream tells them a little later: the event is accepted all the same.

Other events pass by, and orders do where no venue forbids what was bought.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from qianmian.contracts import topics
from qianmian.contracts.events import EventType
from qianmian.errors import EventStoreError
from qianmian.events.bought import Purchase, purchases
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent
from serving.feed.bought import JustBought
from serving.ingest.writer import GroupWriter

log = logging.getLogger(__name__)


class OrderBook:
    """Tells pages of orders."""

    def __init__(
        self,
        here: JustBought,
        changes: Changes,
        *,
        target: EventType,
        asked_for: Callable[[], bool],
        on_failure: Callable[[str], object],
    ) -> None:
        """Tell these pages, and the topic.

        Args:
            here: what the pages of this replica look at.
            changes: the topics of the engine.
            target: the event type that counts as having bought.
            asked_for: says whether any venue has a rule on what was bought.
            on_failure: counts a reason (`FeedMetrics.failed`).
        """
        self._here = here
        self._changes = changes
        self._target = target
        self._asked_for = asked_for
        self._on_failure = on_failure
        self._writer = GroupWriter(self._put, name="order-writer")

    async def tell(self, events: Sequence[StoredEvent]) -> None:
        """Let pages know what was bought; events that were known before change nothing."""
        bought = purchases(events, self._target)
        if not bought or not self._asked_for():
            return
        self._here.add(bought)
        try:
            await self._writer.append(bought)
        except EventStoreError as error:
            log.warning("other replicas learn of orders from the stream alone: %s", error)
            self._on_failure("orders_untold")

    def close(self) -> None:
        """Write what waits, then stop."""
        self._writer.close()

    def _put(self, bought: list[Purchase]) -> list[None]:
        self._changes.put(topics.BOUGHT, {one.key: one.value for one in bought})
        return [None] * len(bought)

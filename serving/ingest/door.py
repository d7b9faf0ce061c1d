"""An event's way in, top-down: judge, write durably, tell of orders, count, answer.

    body -> Acceptance.judge -> GroupWriter.append -> OrderBook.tell -> 202

What the answer counts as accepted is on the disk. Where the log cannot be written nothing of the
batch is kept and the sender is told to come again: the same ids then have the effect of once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.errors import EventStoreError
from qianmian.events.accepting import Acceptance, AcceptanceSettings, Judged
from qianmian.events.store import EventStore
from serving.ingest.metrics import IngestMetrics
from serving.ingest.orders import OrderBook
from serving.ingest.writer import GroupWriter


class IngestSettings(ConfigModel):
    """How events are taken (`args.ingest`)."""

    accept: AcceptanceSettings = AcceptanceSettings()
    """Which times are believed."""
    token_days: float = Field(default=7.0, gt=0)
    """Attribution tokens up to this old attribute an event."""


class Ingest:
    """The door for events of one service."""

    def __init__(
        self,
        acceptance: Acceptance,
        store: EventStore,
        orders: OrderBook,
        metrics: IngestMetrics,
    ) -> None:
        self._acceptance = acceptance
        self._writer = GroupWriter(store.append, name="event-writer", on_written=metrics.written)
        self._orders = orders
        self._metrics = metrics

    async def receive(self, body: bytes, now: float) -> dict[str, Any]:
        """Take a batch and return the answer, in the shape of `EventsResponse`.

        Raises:
            InvalidBatchError: the body is no batch of events.
            EventStoreError: the log cannot be written now; nothing of the batch was kept.
        """
        judged = Judged()
        for _ in self._acceptance.judge_in_steps(body, now, judged):
            await asyncio.sleep(0)  # pages first
        try:
            new = await self._writer.append(judged.events)
        except EventStoreError:
            self._metrics.unwritten(len(judged.events))
            raise
        await self._orders.tell(judged.events)
        accepted, duplicates = self._metrics.received(judged.events, new, judged.rejected)
        return {
            "accepted": accepted,
            "duplicates": duplicates,
            "rejected": [
                {"index": one.index, "event_id": one.event_id, "error": one.error}
                for one in judged.rejected
            ],
        }

    def close(self) -> None:
        """Write what waits, then stop."""
        self._writer.close()
        self._orders.close()

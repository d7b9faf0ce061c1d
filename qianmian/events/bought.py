"""What was just bought: the topic `bought`, by which an order is known before the features know it.

The door tells the topic of every order it has accepted; replicas keep these beside the features
(`serving/feed/bought.py`), and the stream takes a key out of the topic some seconds after it worked
the order in. What nobody takes out goes by its age.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from qianmian.contracts.events import EventType
from qianmian.events.event import StoredEvent, counts

#: Seconds after which an order is believed to be in the features, whatever became of it.
KEPT_SECONDS: Final = 86_400.0


class Purchase(NamedTuple):
    """An item that a subject bought; the subject is the one that the event came with."""

    subject_id: str
    item_id: str
    at: float  # when it was bought
    received_at: float  # when the service took the event

    @property
    def key(self) -> str:
        """The key of the topic."""
        return orjson.dumps([self.subject_id, self.item_id]).decode()

    @property
    def value(self) -> bytes:
        """The value of the topic."""
        return orjson.dumps([self.at, self.received_at])

    @classmethod
    def read(cls, key: str, value: bytes) -> Purchase:
        """Return what the topic says.

        >>> bought = Purchase("anna", "i1", 1.5, 2.0)
        >>> Purchase.read(bought.key, bought.value) == bought
        True
        """
        return cls(*orjson.loads(key), *orjson.loads(value))


def purchases(events: Iterable[StoredEvent], target: EventType) -> list[Purchase]:
    """Return what events say was bought: events of the type that user ledgers are made of."""
    return [
        Purchase(event.subject_id, event.item_id or "", event.timestamp, event.received_at)
        for event in events
        if event.event_type == target and counts(event)
    ]


def keys_of(subject_ids: Iterable[str], keys: Iterable[str]) -> list[str]:
    """Return those keys of the topic that are of some subjects."""
    sought = set(subject_ids)
    return [key for key in keys if orjson.loads(key)[0] in sought]

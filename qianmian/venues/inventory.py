"""What is pushed of stock and prices: `POST /v1/inventory` puts it, every replica keeps it.

Each fact is a key of the topic `inventory`, `field|venue|item` with an empty venue for all venues,
so that the newest stock and the newest price of an item stand whoever pushed the other. A replica
holds all of them in an `Inventory`, which tells each shelf what changed since it last looked.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import orjson

from qianmian.contracts import columns as c

EVERY_VENUE: Final = ""
#: What may be pushed of an item. Prices are of one unit, moments in seconds since the epoch.
FIELDS: Final = (c.STOCK, c.PRICE, c.ON_SALE_FROM, c.ON_SALE_TO)
_LONGEST: Final = 100_000  # facts told one by one; who is further behind reads all of them


class Fact(NamedTuple):
    """One value of an item in a venue or in all; None where nothing is known any more."""

    field: str
    venue_id: str
    item_id: str
    value: float | None

    @property
    def key(self) -> str:
        """Its key in the topic."""
        return "|".join(self[:3])


class Pushed(Protocol):
    """A change of the topic, as `qianmian.events.changes.Change`."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> bytes | None: ...


def encode(facts: Sequence[Fact]) -> dict[str, bytes | None]:
    """Return facts as keys and values of the topic."""
    return {fact.key: None if fact.value is None else orjson.dumps(fact.value) for fact in facts}


def decode(change: Pushed) -> Fact:
    """Return the fact that a change of the topic holds."""
    field, venue_id, item_id = change.key.split("|", 2)
    value = None if change.value is None else float(orjson.loads(change.value))
    return Fact(field, venue_id, item_id, value)


class Inventory:
    """All facts that were pushed, by field, venue and item; written by one thread, read by many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str, str], Fact] = {}
        self._recent: list[Fact] = []
        self._forgotten = 0

    @property
    def version(self) -> int:
        """A number that grows with each fact."""
        return self._forgotten + len(self._recent)

    def take(self, changes: Sequence[Pushed]) -> None:
        """Take over changes of the topic."""
        facts = [decode(change) for change in changes]
        with self._lock:
            for fact in facts:
                if fact.value is None:
                    self._facts.pop(fact[:3], None)
                else:
                    self._facts[fact[:3]] = fact
            self._recent += facts
            if (surplus := len(self._recent) - _LONGEST) > 0:
                del self._recent[:surplus]
                self._forgotten += surplus

    def since(self, version: int) -> list[Fact] | None:
        """Return the facts behind a version, None if one of them is not remembered singly."""
        with self._lock:
            skipped = version - self._forgotten
            return None if skipped < 0 else self._recent[skipped:]

    def of_venue(self, venue_id: str) -> tuple[list[Fact], int]:
        """Return all facts of a venue, its own last so that they win, and the version."""
        with self._lock:
            everywhere = [fact for fact in self._facts.values() if fact.venue_id == EVERY_VENUE]
            own = [fact for fact in self._facts.values() if fact.venue_id == venue_id]
            return everywhere + own, self.version

    def has_own(self, fact: Fact, venue_id: str) -> bool:
        """Return whether a venue has a value of its own in place of this one of all venues."""
        return (fact.field, venue_id, fact.item_id) in self._facts

    def facts(self) -> Mapping[tuple[str, str, str], Fact]:
        """Return a copy of everything that is known."""
        with self._lock:
            return dict(self._facts)

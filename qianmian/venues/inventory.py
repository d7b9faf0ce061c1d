"""What is pushed of stock and prices: `POST /v1/inventory` puts it, every replica keeps it.

Each fact is a key of the topic `inventory`, `field|venue|item` with an empty venue for all venues,
so that the newest stock and the newest price of an item stand whoever pushed the other. A replica
holds all of them in an `Inventory`, which tells each shelf what changed since it last looked.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from math import isfinite
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
    """Return the fact that a change of the topic holds.

    Raises:
        ValueError: it holds none.
    """
    field, venue_id, item_id = change.key.split("|", 2)
    if field not in FIELDS:
        raise ValueError(f"{field!r}: expected one of {', '.join(FIELDS)}")
    value = None if change.value is None else orjson.loads(change.value)
    if value is not None and not (isinstance(value, int | float) and isfinite(value)):
        raise ValueError(f"{field}={value!r}: expected a number")
    return Fact(field, venue_id, item_id, None if value is None else float(value))


class Inventory:
    """All facts that were pushed, by field, venue and item; written by one thread, read by many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str, str], float] = {}
        self._recent: list[Fact] = []
        self._forgotten = 0

    @property
    def version(self) -> int:
        """A number that grows with each fact."""
        return self._forgotten + len(self._recent)

    def take(self, changes: Sequence[Pushed]) -> None:
        """Take over changes of the topic.

        Raises:
            ValueError: one of them holds no fact; none of them was taken.
        """
        facts = [decode(change) for change in changes]
        with self._lock:
            for fact in facts:
                if fact.value is None:
                    self._facts.pop(fact[:3], None)
                else:
                    self._facts[fact[:3]] = fact.value
            self._recent += facts
            if (surplus := len(self._recent) - _LONGEST) > 0:
                del self._recent[:surplus]
                self._forgotten += surplus

    def since(self, version: int) -> list[Fact] | None:
        """Return the facts behind a version, None if one of them is not remembered singly."""
        with self._lock:
            skipped = version - self._forgotten
            return None if skipped < 0 else self._recent[skipped:]

    def of_venue(self, venue_id: str) -> tuple[Mapping[str, Mapping[str, float]], int]:
        """Return what is said of a venue's items, by field and item id, and the version."""
        said: dict[str, dict[str, dict[str, float]]] = {EVERY_VENUE: {}, venue_id: {}}
        with self._lock:
            for (field, venue, item_id), value in self._facts.items():
                if venue in said:
                    said[venue].setdefault(field, {})[item_id] = value
            version = self.version
        everywhere, own = said[EVERY_VENUE], said[venue_id]
        fields = everywhere.keys() | own.keys()
        return {name: everywhere.get(name, {}) | own.get(name, {}) for name in fields}, version

    def value(self, field: str, venue_id: str, item_id: str) -> float | None:
        """Return what is said of an item in a venue, by the venue's own push before that of all."""
        own = self._facts.get((field, venue_id, item_id))
        return self._facts.get((field, EVERY_VENUE, item_id)) if own is None else own

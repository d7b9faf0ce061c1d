"""What was just bought, as a replica knows it beside the features: so an order is honoured at once.

The stream brings an order into a shopper's features within moments, or later where it is behind.
Until then the order stands here: the replica that accepted it knows before it answers, the others
learn of it from the topic `bought`. Once the ledger of a shopper holds it, it is let go; what no
page asks for goes by its age, or when there are too many.

Orders stand under the subject that they came with; merges are followed when a page asks.

Shapes: `K` orders of a shopper, `M` entries of the ledger.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge

from qianmian.events.bought import KEPT_SECONDS, Purchase
from qianmian.events.changes import Change
from qianmian.features.item_table import ItemTable
from qianmian.features.user_state import UserState
from serving.feed.eligibility import Bought

#: Orders that a replica keeps, at most.
MOST: Final = 100_000
#: Of one subject, at most; a ledger is about as long.
MOST_OF_ONE: Final = 500
#: Seconds by which two times of one order may differ: features count in microseconds.
_CLOSE: Final = 1e-3
_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


class JustBought:
    """Orders that may not be in the features yet. Reading takes no lock."""

    def __init__(
        self,
        members: Callable[[str], Iterable[str]] = lambda subject_id: (subject_id,),
        *,
        on_known: Callable[[Iterable[str]], object] = lambda _: None,
        most: int = MOST,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Keep at most `most` orders; `registry` is where they are counted.

        Args:
            members: the subjects that count as one, itself included (`Identity.members`).
            on_known: told of shoppers whose orders are let go, for the features hold them: what
                was read of these shoppers before must not be used again (`Users.forget`).
            most: how many orders are kept.
        """
        self._members = members
        self._on_known = on_known
        self._most = most
        self._received: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._held: dict[str, Mapping[str, float]] = {}  # subject -> item -> when; never changed
        self._writing = threading.Lock()
        registry = CollectorRegistry() if registry is None else registry
        held = Gauge("qianmian_bought_held", "Orders known beside the features", registry=registry)
        held.set_function(self.__len__)
        self._crowded_out = Counter(
            "qianmian_bought_crowded_out",
            "Orders let go before their time, for there were too many",
            registry=registry,
        )

    def __len__(self) -> int:
        return len(self._received)

    def add(self, bought: Iterable[Purchase]) -> None:
        """Take in orders; any thread may call this."""
        for one in bought:
            with self._writing:  # for each anew: a page of the topic is long, and the door waits
                of_subject = dict(self._held.get(one.subject_id, _NOTHING))
                at = max(one.at, of_subject.pop(one.item_id, one.at))
                of_subject[one.item_id] = at  # the last one now
                self._held[one.subject_id] = of_subject
                self._received[one.subject_id, one.item_id] = one.received_at
                self._received.move_to_end((one.subject_id, one.item_id))
                if len(of_subject) > MOST_OF_ONE:
                    self._remove(one.subject_id, next(iter(of_subject)))
                    self._crowded_out.inc()
                self._trim(one.received_at - KEPT_SECONDS)

    def take(self, changes: Sequence[Change]) -> None:
        """Take in changes of the topic `bought`; keys leave it without a word."""
        self.add(Purchase.read(c.key, c.value) for c in changes if c.value is not None)

    def forget(self, subject_ids: Iterable[str]) -> None:
        """Drop all orders of some subjects."""
        with self._writing:
            for subject_id in subject_ids:
                for item_id in self._held.pop(subject_id, _NOTHING):
                    self._received.pop((subject_id, item_id), None)

    def of(self, subject_id: str | None, state: UserState, items: ItemTable) -> Bought | None:
        """Return what a shopper bought beyond what the features say; None for nothing."""
        if not self._held or subject_id is None:
            return None
        held = [
            (member, item_id, at)
            for member in self._members(subject_id)
            for item_id, at in self._held.get(member, _NOTHING).items()
        ]
        if not held:
            return None
        indices = items.indices_of(item_id for _, item_id, _ in held)
        at_K = np.array([at for _, _, at in held])
        ledger = state.ledger
        same_KM = ledger.items == indices[:, None]
        known_K = (same_KM & (ledger.last_at >= at_K[:, None] - _CLOSE)).any(axis=1)
        if known_K.any():
            self._let_go([held[place] for place in np.flatnonzero(known_K)])
            self._on_known((subject_id,))
        fresh_K = ~known_K & (indices >= 0)
        return Bought(indices[fresh_K], at_K[fresh_K]) if fresh_K.any() else None

    def _let_go(self, known: Iterable[tuple[str, str, float]]) -> None:
        with self._writing:
            for subject_id, item_id, at in known:
                if self._held.get(subject_id, _NOTHING).get(item_id) == at:
                    self._remove(subject_id, item_id)

    def _trim(self, before: float) -> None:
        """Drop what came first while it is too old, or too much."""
        while self._received:
            (subject_id, item_id), received_at = next(iter(self._received.items()))
            too_old, too_many = received_at < before, len(self._received) > self._most
            if not (too_old or too_many):
                return
            self._remove(subject_id, item_id)
            if not too_old:
                self._crowded_out.inc()

    def _remove(self, subject_id: str, item_id: str) -> None:
        self._received.pop((subject_id, item_id), None)
        left = {one: at for one, at in self._held[subject_id].items() if one != item_id}
        if left:
            self._held[subject_id] = left
        else:
            del self._held[subject_id]

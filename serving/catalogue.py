"""What the service reads of a data set once, when it starts: pools, offers, known shoppers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.venues import Sources
from qianmian.venues.vocabulary import conditions_of
from serving.feed.resident import Goods
from serving.feed.shelf import ItemFacts, Offers
from serving.segments import Segments

KNOWN_USERS: Final = 500
#: Columns of the pool that become numbers on the shelf: field of a shelf by column.
_NUMBERS: Final = {
    c.VENUE_PRICE: c.PRICE,
    c.STOCK: c.STOCK,
    c.ON_SALE_FROM: c.ON_SALE_FROM,
    c.ON_SALE_TO: c.ON_SALE_TO,
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The parts of a data set that pages are made of.

    `known_users` holds the shoppers with the most events, each with their number; `item_ids` every
    item that is known; `target` is the event type that counts as having bought; `currency` that of
    every amount, None where there is none.
    """

    goods: Goods
    known_users: tuple[tuple[str, int], ...]
    item_ids: frozenset[str] = frozenset()
    target: EventType = EventType.ORDER
    currency: str | None = None

    @classmethod
    def read(cls, dataset: Dataset) -> Catalogue:
        """Read a data set."""
        users = dataset.train_events([c.USER_ID])[c.USER_ID].value_counts()
        users = users[users > 0].head(KNOWN_USERS)
        return cls(
            goods=read_goods(dataset),
            known_users=tuple(
                (str(user), int(count)) for user, count in zip(users.index, users, strict=True)
            ),
            item_ids=dataset.item_ids(),
            target=dataset.spec.target,
            currency=dataset.spec.currency,
        )


def venue_sources(dataset: Dataset, configs: Path, *, kept: Path | None = None) -> Sources:
    """Return where the venues of a data set come from; sound files are copied to `kept`."""
    spec = dataset.spec
    return Sources(
        folder=configs / "venues",
        dataset=spec.name,
        rows=dataset.venues(),
        context=conditions_of(spec),
        has_margin=c.MARGIN in spec.items.numeric,
        segments=frozenset(spec.users.categorical),
        kept=kept,
    )


def read_goods(dataset: Dataset) -> Goods:
    """Read what pools and shelves are made of."""
    pools = dataset.venue_items()
    segments = Segments(dataset)
    segments.warm()
    grouped = {} if pools is None else dict(list(pools.groupby(c.VENUE_ID, observed=True)))
    return Goods(
        items_of={str(v): rows[c.ITEM_ID].astype(str).tolist() for v, rows in grouped.items()},
        offers={str(venue): _offers(rows) for venue, rows in grouped.items()},
        facts=_facts(dataset),
        segments=segments.users_by_value,
    )


def _offers(rows: pd.DataFrame) -> Offers:
    return Offers(
        numbers={
            target: numbers
            for column, target in _NUMBERS.items()
            if (numbers := _numbers(rows, column))
        },
        coupons={  # the first of several
            item: str(held).split()[0] for item, held in _known(rows, c.COUPON_ID)
        },
        regions={item: frozenset(str(words).split()) for item, words in _known(rows, c.REGIONS)},
    )


def _facts(dataset: Dataset) -> ItemFacts:
    declared, items = dataset.spec.items, dataset.items()
    if items is None:
        return ItemFacts()
    return ItemFacts(
        numbers={name: _numbers(items, name) for name in declared.numeric},
        sets={
            name: {item: frozenset(map(str, held)) for item, held in _known(items, name)}
            for name in declared.multi
        },
    )


def _known(rows: pd.DataFrame, column: str) -> Iterator[tuple[str, Any]]:
    """Return each item that has a value in a column, with it."""
    if column not in rows:
        return iter(())
    held = rows[rows[column].notna()]
    return zip(held[c.ITEM_ID].astype(str), held[column], strict=True)


def _numbers(rows: pd.DataFrame, column: str) -> dict[str, float]:
    """Return the known numbers of a column by item; moments as seconds since the epoch."""
    return {
        item: value.timestamp() if isinstance(value, pd.Timestamp) else float(value)
        for item, value in _known(rows, column)
    }

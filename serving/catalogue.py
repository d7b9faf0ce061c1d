"""What the service reads of a data set once, when it starts: venues, pools, known shoppers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.venues import Venue, load_venues

KNOWN_USERS = 500


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The parts of a data set that pages are made of.

    `items_of` holds item ids by venue id, `coupons` the coupon of each item of a venue that has
    one (the first where there are several); `known_users` the shoppers with the most events, each
    with their number; `item_ids` every item that is known.
    """

    venues: Mapping[str, Venue]
    items_of: Mapping[str, list[str]]
    coupons: Mapping[str, Mapping[str, str]]
    known_users: tuple[tuple[str, int], ...]
    item_ids: frozenset[str] = frozenset()

    @classmethod
    def read(cls, dataset: Dataset, configs: Path) -> Catalogue:
        """Read the venues of a data set and the operators' files in `configs/venues`.

        Raises:
            ConfigError: a venue file holds faults.
        """
        pools = dataset.venue_items()
        items_of: dict[str, list[str]] = {}
        if pools is not None:
            grouped = pools.groupby(c.VENUE_ID, observed=True)[c.ITEM_ID]
            items_of = {str(venue): items.astype(str).tolist() for venue, items in grouped}
        coupons: dict[str, dict[str, str]] = {}
        if pools is not None and c.COUPON_ID in pools:
            held = pools[pools[c.COUPON_ID].notna()]
            for venue, rows in held.groupby(c.VENUE_ID, observed=True):
                first = rows[c.COUPON_ID].astype(str).str.split().str[0]
                coupons[str(venue)] = dict(zip(rows[c.ITEM_ID].astype(str), first, strict=True))
        users = dataset.train_events([c.USER_ID])[c.USER_ID].value_counts()
        users = users[users > 0].head(KNOWN_USERS)
        return cls(
            venues=load_venues(configs / "venues", dataset.spec.name, dataset.venues()),
            items_of=items_of,
            coupons=coupons,
            known_users=tuple(
                (str(user), int(count)) for user, count in zip(users.index, users, strict=True)
            ),
            item_ids=dataset.item_ids(),
        )

"""What stays in memory between requests: releases with their venue pools, venues, experiments.

A `World` is immutable but for the shelves, which take in what is pushed. The service builds the
next world aside and swaps one reference; a request takes the reference once and so sees one
consistent world to its end.

Shapes: `n` items of the catalogue, `P` items of a pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final, Self

import numpy as np

from qianmian.contracts import columns as c
from qianmian.experiments import Experiments
from qianmian.features.item_table import Float32, Int32
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import Pool
from qianmian.venues import Venue
from qianmian.venues.inventory import Inventory
from serving.clock import Clock
from serving.feed.details import ItemDetails
from serving.feed.eligibility import Eligibility
from serving.feed.listing import Recipes
from serving.feed.rerank.rulebook import RuleBook
from serving.feed.rerank.warm import warm
from serving.feed.selection import Selection
from serving.feed.shelf import ItemColumns, ItemFacts, Offers, Shelf, by_item
from serving.feed.tokens import UInt32, item_hashes


@dataclass(frozen=True, slots=True)
class Goods:
    """What pools and shelves are made of, beside the release.

    `items_of` holds item ids by venue id in the order of the pool, `offers` what the data set says
    of them; `segments` gives the users of each item by the value of a user tag; `pushed` is kept up
    to date while the service runs.
    """

    items_of: Mapping[str, list[str]] = field(default_factory=dict)
    offers: Mapping[str, Offers] = field(default_factory=dict)
    facts: ItemFacts = field(default_factory=ItemFacts)
    segments: Callable[[str], Mapping[str, Mapping[str, float]]] = lambda _: {}
    pushed: Inventory = field(default_factory=Inventory)


@dataclass(frozen=True, slots=True)
class Popularity:
    """The items of a pool by plain popularity, ties in the order of the pool."""

    items: Int32  # [P]
    popularity: Float32  # [P], in that order, scaled to 0..1; all 0 where nothing is known of it


@dataclass(frozen=True, slots=True)
class VenuePool:
    """The items of a venue: laid out for retrieval, and in the order of plain popularity."""

    pool: Pool
    places: Int32  # [P], of its items in the venue's own order
    of_all: Popularity
    of_segment: Mapping[str, Popularity]  # by the value of the venue's segment tag
    details: ItemDetails  # what the venue's page shows of each item
    shelf: Shelf
    eligibility: Eligibility
    selection: Selection | None  # of a venue with a query
    recipes: Recipes  # what its blocks ask for
    stamp: int  # another for each pool that was laid out, so that what is remembered of one ends


_STAMPS: Final = count()


@dataclass(frozen=True, slots=True)
class ResidentRelease:
    """A release with the pool of every venue."""

    id: str
    bundle: Bundle
    pools: Mapping[str, VenuePool]
    item_hashes: UInt32  # [n]
    rules: RuleBook
    columns: ItemColumns

    @classmethod
    def build(
        cls, release_id: str, bundle: Bundle, venues: Mapping[str, Venue], goods: Goods
    ) -> Self:
        """Lay out the pools of the venues."""
        columns = ItemColumns(bundle.items, goods.facts)
        hashes = item_hashes(bundle.items.item_ids)
        rules = RuleBook(bundle.items, bundle.vectors, hashes)
        warm(rules)
        return cls(
            id=release_id,
            bundle=bundle,
            pools={
                venue_id: _venue_pool(venue, bundle, columns, goods)
                for venue_id, venue in venues.items()
            },
            item_hashes=hashes,
            rules=rules,
            columns=columns,
        )

    def with_venues(
        self, venues: Mapping[str, Venue], before: Mapping[str, Venue], goods: Goods
    ) -> Self:
        """Return the release with other venues; pools that are laid out as before stay."""
        pools = {
            venue_id: replace(self.pools[venue_id], recipes=Recipes())
            if venue_id in self.pools and _laid_out_alike(before.get(venue_id), venue)
            else _venue_pool(venue, self.bundle, self.columns, goods)
            for venue_id, venue in venues.items()
        }
        return replace(self, pools=pools)

    def reordered(self) -> Self:
        """Return the release with its pools in the order of the item statistics as they are now.

        Prices and conditions follow the statistics from then on, too.
        """
        self.columns.renew()
        pools = {venue_id: _reordered(pool, self.bundle) for venue_id, pool in self.pools.items()}
        return replace(self, pools=pools)

    def selects_others(self) -> bool:
        """Return whether the query of a venue selects other items than its pool holds.

        For the thread that lays out pools.
        """
        return bool(self._reselected())

    def reselected(self, venues: Mapping[str, Venue], goods: Goods) -> Self:
        """Return the release with those pools laid out anew whose query selects other items now."""
        pools = {
            venue_id: _laid_out(
                venues[venue_id], self.bundle, goods, self.pools[venue_id].shelf, selection
            )
            for venue_id, selection in self._reselected().items()
        }
        return replace(self, pools={**self.pools, **pools})

    def _reselected(self) -> dict[str, Selection]:
        selections = ((venue_id, pool.selection) for venue_id, pool in self.pools.items())
        return {
            venue_id: renewed
            for venue_id, selection in selections
            if selection is not None and (renewed := selection.renewed()) is not selection
        }


@dataclass(frozen=True, slots=True)
class World:
    """Everything a request is answered from."""

    venues: Mapping[str, Venue]
    experiments: Experiments
    releases: Mapping[str, ResidentRelease]  # by alias
    clock: Clock

    @property
    def release(self) -> ResidentRelease:
        """The release that answers whoever no experiment sends elsewhere."""
        return self.releases[self.experiments.base.release]


def _laid_out_alike(before: Venue | None, venue: Venue) -> bool:
    """Return whether two versions of a venue differ in nothing that its pool is laid out by."""
    return before is not None and all(
        getattr(before, part) == getattr(venue, part)
        for part in ("pool", "eligibility", "fallback")
    )


def _venue_pool(venue: Venue, bundle: Bundle, columns: ItemColumns, goods: Goods) -> VenuePool:
    def shelf() -> Shelf:
        return Shelf(venue.id, columns, goods.offers.get(venue.id, Offers()), goods.pushed)

    selection = None
    if venue.pool is not None and venue.pool.query is not None:
        listed = bundle.items.indices_of(venue.pool.items)
        selection = Selection.of(venue.pool.query, listed, shelf())
    return _laid_out(venue, bundle, goods, shelf(), selection)


def _laid_out(
    venue: Venue, bundle: Bundle, goods: Goods, shelf: Shelf, selection: Selection | None
) -> VenuePool:
    """Lay out a venue's pool; `shelf` may be in use by requests."""
    listed = _listed(venue, bundle, goods) if selection is None else selection.items
    pool = bundle.pool(listed)
    places = _places(pool.items, listed)
    counts = goods.segments(venue.fallback.segment) if venue.fallback.segment else {}
    return VenuePool(
        pool=pool,
        places=places,
        of_all=_by_popularity(pool, places, bundle.items.popularity),
        of_segment={
            value: _by_popularity(pool, places, by_item(bundle.items, users))
            for value, users in counts.items()
        },
        details=ItemDetails(bundle.items, shelf),
        shelf=shelf,
        eligibility=Eligibility(venue.eligibility, shelf, pool.member, selection),
        selection=selection,
        recipes=Recipes(),
        stamp=next(_STAMPS),
    )


def _reordered(venue: VenuePool, bundle: Bundle) -> VenuePool:
    pool = venue.pool.reordered(bundle.items)
    return replace(
        venue,
        pool=pool,
        of_all=_by_popularity(pool, venue.places, bundle.items.popularity),
        recipes=Recipes(),
        stamp=next(_STAMPS),
    )


def _by_popularity(pool: Pool, places: Int32, users: Float32) -> Popularity:
    """Order a pool by the users of each item, float32 [n] over the catalogue."""
    popularity = users[pool.items]
    order = np.lexsort((places, -popularity))
    top = max(float(popularity.max(initial=0.0)), 1.0)
    return Popularity(pool.items[order], (popularity[order] / top).astype(np.float32))


def _listed(venue: Venue, bundle: Bundle, goods: Goods) -> Int32 | None:
    """Return the item indices of a pool without a query in its own order, None for the catalogue.

    Items that the release has never seen cannot be ranked and are left out.
    """
    if venue.pool is not None:
        return bundle.items.indices_of(venue.pool.items)
    if venue.id == c.WHOLE_CATALOGUE_VENUE:
        return None
    return bundle.items.indices_of(goods.items_of.get(venue.id, ()))


def _places(items: Int32, listed: Int32 | None) -> Int32:
    """Return the place of each item in a list, int32 [P]; without a list that of the catalogue."""
    if listed is None:
        return items
    first = np.unique(listed, return_index=True)
    held = first[0] >= 0  # as in `Pool.build`, what the release does not know is left out
    return first[1][held].astype(np.int32)

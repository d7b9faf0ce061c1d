"""What stays in memory between requests: releases with their venue pools, venues, experiments.

A `World` is immutable. The service builds the next one aside and swaps one reference; a request
takes the reference once and so sees one consistent world to its end.

Shapes: `n` items of the catalogue, `P` items of a pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qianmian.contracts import columns as c
from qianmian.experiments import Experiments
from qianmian.features.item_table import Float32, Int32
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import Pool
from qianmian.venues import Venue
from serving.clock import Clock
from serving.feed.details import ItemDetails
from serving.feed.tokens import UInt32, item_hashes


@dataclass(frozen=True, slots=True)
class VenuePool:
    """The items of a venue: laid out for retrieval, and in the order of plain popularity."""

    pool: Pool
    by_popularity: Int32  # [P], ties by item index
    popularity: Float32  # [P], in that order, scaled to 0..1
    details: ItemDetails  # what the venue's page shows of each item


@dataclass(frozen=True, slots=True)
class ResidentRelease:
    """A release with the pool of every venue."""

    id: str
    bundle: Bundle
    pools: Mapping[str, VenuePool]
    item_hashes: UInt32  # [n]

    @classmethod
    def build(
        cls,
        release_id: str,
        bundle: Bundle,
        venue_items: Mapping[str, Int32 | None],
        coupons: Mapping[str, Mapping[str, str]] | None = None,
    ) -> ResidentRelease:
        """Lay out the pools.

        Args:
            release_id: whose they are.
            bundle: the release.
            venue_items: item indices by venue id, None for all items.
            coupons: by venue id, the coupon of each item id that has one.
        """
        held = coupons or {}
        return cls(
            id=release_id,
            bundle=bundle,
            pools={
                venue_id: _venue_pool(bundle, indices, held.get(venue_id, {}))
                for venue_id, indices in venue_items.items()
            },
            item_hashes=item_hashes(bundle.items.item_ids),
        )


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


def venue_indices(
    bundle: Bundle, venues: Mapping[str, Venue], items_of: Mapping[str, list[str]]
) -> dict[str, Int32 | None]:
    """Return the item indices of each venue's pool; `items_of` holds item ids by venue id.

    Items that the release has never seen cannot be ranked and are left out.
    """
    return {
        venue_id: None
        if venue_id == c.WHOLE_CATALOGUE_VENUE
        else bundle.items.indices_of(items_of.get(venue_id, []))
        for venue_id in venues
    }


def _venue_pool(bundle: Bundle, indices: Int32 | None, coupons: Mapping[str, str]) -> VenuePool:
    pool = bundle.pool(indices)
    popularity = bundle.items.popularity[pool.items]
    order = np.argsort(-popularity, kind="stable")
    top = max(float(popularity.max(initial=0.0)), 1.0)
    return VenuePool(
        pool=pool,
        by_popularity=pool.items[order],
        popularity=(popularity[order] / top).astype(np.float32),
        details=ItemDetails(
            bundle.items,
            {bundle.items.index_of(item): coupon for item, coupon in coupons.items()},
        ),
    )

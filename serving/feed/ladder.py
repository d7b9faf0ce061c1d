"""The lower rungs of a page: candidates by plain popularity, or in the order of the pool.

    the full path  ->  without ranker: the order of retrieval  ->  without retrieval: what is
    popular in the venue, with the shopper's segment where that is known  ->  without popularity:
    the order of the pool

Each rung below the first stands in the answer's `degraded`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from qianmian.retrieval.sources import FALLBACK, SOURCE_CODE, TRENDING, Candidates
from qianmian.venues.conditions import Mask
from serving.feed.resident import VenuePool

NO_RANKER: Final = "no_ranker"
NO_RETRIEVAL: Final = "no_retrieval"
NO_POPULARITY: Final = "no_popularity"


def popular(
    pool: VenuePool,
    limit: int,
    allowed: Mask,
    *,
    segment: object = None,
    source: str = FALLBACK,
) -> tuple[Candidates, str | None]:
    """Return the most popular of the allowed items as candidates, scored by their popularity.

    With them comes the reason to tell where they stand in the order of the pool, else None.
    `segment` is the shopper's; where nothing is known of it, all shoppers of the venue count.
    """
    liked = pool.of_segment.get(str(segment), pool.of_all)
    unknown = len(liked.popularity) and not liked.popularity[0]
    rows = np.flatnonzero(allowed[liked.items])[:limit]
    items = liked.items[rows]
    candidates = Candidates(
        items=items,
        source=np.full(len(items), SOURCE_CODE[source], dtype=np.int8),
        retrieval=liked.popularity[rows],
        neighbour=np.zeros(len(items), dtype=np.float32),
        factor=np.zeros(len(items), dtype=np.float32),
    )
    return candidates, NO_POPULARITY if unknown else None


#: What proposes the items of a block of best sellers.
BEST_SELLERS: Final = TRENDING

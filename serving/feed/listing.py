"""A listing: what one block of a page is made from, by the block's kind, sources, filter, audience.

Blocks that ask for the same share one proposal and one ranking; most pages need only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from qianmian.contracts import columns as c
from qianmian.experiments import FeedParams
from qianmian.features.user_state import UserState
from qianmian.retrieval.sources import LONGEST, SourceQuotas
from qianmian.venues import Block
from qianmian.venues.blocks import BlockKind
from qianmian.venues.conditions import Condition, Mask, Texts
from serving.feed.eligibility import (
    ELIGIBILITY_UNKNOWN,
    NO_COUPON,
    NOT_IN_AUDIENCE,
    Eligible,
    in_audience,
)
from serving.feed.filters import BLOCK_FILTER
from serving.feed.scoring import Ranking
from serving.feed.shelf import Shelf

#: Sources of the kinds that live from some sources alone.
_OF_KIND: Final = {
    BlockKind.NEW_ARRIVALS: SourceQuotas.only(new=200, unseen=100),
    BlockKind.BUY_AGAIN: SourceQuotas.only(repeat=LONGEST),
    BlockKind.BEST_SELLERS: SourceQuotas.only(),
}
#: Kinds that end with their candidates: the rest of the pool is not what they promise.
_ENDING: Final = frozenset({BlockKind.NEW_ARRIVALS, BlockKind.BUY_AGAIN})


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a block asks for; there is one for all blocks of a venue that ask for the same."""

    kind: BlockKind
    quotas: SourceQuotas
    filter: Condition | None
    audience: Condition | None

    @property
    def fills(self) -> bool:
        """Whether the rest of the pool may fill the block up."""
        return self.kind not in _ENDING

    def allowed(self, eligible: Eligible, shelf: Shelf, state: UserState) -> Allowed:
        """Return what the block may show of what the shopper may see."""
        mask, removed = eligible.mask, Counter[str]()
        if self.audience is not None and not in_audience(self.audience, state):
            removed[NOT_IN_AUDIENCE] = int(np.count_nonzero(mask))
            return Allowed(np.zeros_like(mask), removed, whole=False)
        if self.kind is BlockKind.COUPONS:
            coupons = shelf.get(c.COUPON_ID)
            held = coupons.codes != 0 if isinstance(coupons, Texts) else np.zeros_like(mask)
            mask = _narrowed(mask, held, NO_COUPON, removed)
        if self.filter is not None:
            mask = _narrowed(mask, shelf.holds(self.filter), BLOCK_FILTER, removed)
        return Allowed(mask, removed, whole=eligible.whole and not removed)


class Recipes:
    """The recipes of one venue, each made once, for they are looked up in every request."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, int], tuple[Block, FeedParams, Recipe]] = {}
        self._made: dict[tuple[object, ...], Recipe] = {}

    def of(self, block: Block, params: FeedParams) -> Recipe:
        """Return the recipe of a block under the feed's parameters."""
        asked = (id(block), id(params))  # both are kept here, so no other can have their ids
        found = self._asked.get(asked)
        if found is None:
            quotas = block.sources.apply(_OF_KIND.get(block.kind, params.sources))
            parts = block.kind, quotas, block.filter, block.audience
            recipe = self._made.setdefault(parts, Recipe(*parts))
            found = self._asked[asked] = block, params, recipe
        return found[2]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a block may show, bool [n]; `whole` if that is all of the pool."""

    mask: Mask
    removed: Counter[str]
    whole: bool

    @classmethod
    def nothing(cls, eligible: Eligible) -> Self:
        """Return that nothing may be shown, for when the block's rules could not be judged."""
        removed = Counter({ELIGIBILITY_UNKNOWN: int(np.count_nonzero(eligible.mask))})
        return cls(np.zeros_like(eligible.mask), removed, whole=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """The ranking of a block, and what it may show beyond that."""

    ranking: Ranking
    allowed: Mask  # bool [n], what may be shown in the block at all
    fills: bool  # whether the rest of `allowed` fills it up
    proposed: Mapping[str, int]  # candidates by source
    removed: Counter[str]  # what the block's own conditions took out of the pool


def _narrowed(mask: Mask, held: Mask, reason: str, removed: Counter[str]) -> Mask:
    narrowed = mask & held
    if lost := int(np.count_nonzero(mask)) - int(np.count_nonzero(narrowed)):
        removed[reason] += lost
    return narrowed

"""Eligibility: which items of a venue's pool a shopper may see at all, and why not the others.

Everything that is shown passes one mask over the catalogue: candidates are retrieved under it, the
ranking is read through it, and so is what fills up a page. Most rules say the same to every
shopper; their mask is kept until a fact changes or a sale window opens or closes. What concerns one
shopper is laid over it.

Shapes: `n` items of the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from qianmian.contracts import columns as c
from qianmian.features.item_table import Float64, Int32
from qianmian.features.user_state import SECONDS_PER_DAY, UserState
from qianmian.venues.conditions import Columns, Condition, Mask, Numbers, Sets, Texts
from qianmian.venues.eligibility import Display, EligibilityFile
from serving.feed.selection import Selection
from serving.feed.shelf import Shelf

SOLD_OUT: Final = "sold_out"
NOT_ON_SALE: Final = "not_on_sale"
PRICE_OUT_OF_BOUNDS: Final = "price_out_of_bounds"
NO_COUPON: Final = "no_coupon"
POOL_QUERY: Final = "pool_query"
VENUE_FILTER: Final = "venue_filter"
NOT_IN_AUDIENCE: Final = "not_in_audience"
ANOTHER_REGION: Final = "another_region"
ALREADY_BOUGHT: Final = "already_bought"
SHOWN_TOO_OFTEN: Final = "shown_too_often"
DISLIKED: Final = "disliked"
ELIGIBILITY_UNKNOWN: Final = "eligibility_unknown"

#: Items named for each reason when a page is explained.
EXAMPLES: Final = 3
_Judged = tuple[str, Mask]  # reason, what it takes out


@dataclass(frozen=True, slots=True)
class Bought:
    """Items that were bought, each with when; one may stand here several times."""

    items: Int32  # item indices
    at: Float64


@dataclass(frozen=True, slots=True)
class Shopper:
    """Whom a page is for, as far as the rules ask."""

    state: UserState
    region: str | None
    now: float
    just_bought: Bought | None = None  # what the ledger of `state` does not hold yet


@dataclass(frozen=True, slots=True)
class Eligible:
    """What a shopper may see: `mask` bool [n] within the pool, and what the rules took out of it.

    `whole` tells that nothing was taken out, so that nothing needs to be looked up. `region` is the
    shopper's where the venue sells some items in it and not in others, else None.
    """

    mask: Mask
    removed: Counter[str]
    whole: bool
    judged: Callable[[], Iterator[_Judged]] = field(repr=False)
    region: str | None = None

    @classmethod
    def nothing(cls, pool: Mask) -> Self:
        """Return that nothing may be seen, for when the rules could not be judged."""
        removed = Counter({ELIGIBILITY_UNKNOWN: int(np.count_nonzero(pool))})
        return cls(np.zeros_like(pool), removed, False, lambda: iter([(ELIGIBILITY_UNKNOWN, pool)]))  # noqa: FBT003

    def examples(self, pool: Mask) -> dict[str, Int32]:
        """Return some items of the pool for each reason, the first ones of the catalogue."""
        left, found = pool.copy(), dict[str, Int32]()
        for reason, out in self.judged():
            items = np.flatnonzero(left & out)
            if len(items):
                found.setdefault(reason, items[:EXAMPLES].astype(np.int32))
                left[items] = False
        return found


class Eligibility:
    """The rules of one venue over one release."""

    def __init__(
        self,
        rules: EligibilityFile,
        shelf: Shelf,
        pool: Mask,
        selection: Selection | None = None,
    ) -> None:
        """`pool` holds the items of the venue, bool [n], laid out by `selection` if by a query."""
        self._rules = rules
        self._shelf = shelf
        self._pool = pool
        self._selection = selection
        self._size = int(np.count_nonzero(pool))
        self._version = -1
        self._valid = (np.inf, -np.inf)
        self._common: list[_Judged] = []
        self._common_mask = pool
        self._common_removed: Counter[str] = Counter()
        self._restricted: list[Mask] = []

    def of(self, shopper: Shopper) -> Eligible:
        """Return what a shopper may see."""
        self._refresh(shopper.now)
        region = self._shelf.region(shopper.region) if self._rules.region else None
        own = [judged for judged in self._own(shopper) if judged[1].any()]
        if not own:
            return Eligible(
                self._common_mask,
                self._common_removed,
                not self._common_removed,
                lambda: iter(self._common),
                region,
            )
        mask, removed = self._common_mask, self._common_removed.copy()
        left = self._size - removed.total()
        for reason, out in own:
            mask = mask & ~out
            now = int(np.count_nonzero(mask))
            if now < left:
                removed[reason] += left - now
                left = now
        common = self._common
        return Eligible(mask, removed, not removed, lambda: iter([*common, *own]), region)

    def _refresh(self, now: float) -> None:
        """Judge anew what is common to all shoppers, if a fact or the time has changed it."""
        shelf = self._shelf
        opens, closes = self._valid
        if self._version == shelf.version and opens <= now < closes:
            return
        self._version = shelf.version
        self._valid = _valid(shelf, now)
        self._common = [judged for judged in self._for_all(now) if judged[1].any()]
        self._restricted = [shelf.holds(one.items) for one in self._rules.only_for]
        self._common_mask, self._common_removed = self._pool, Counter()
        left = self._size
        for reason, out in self._common:
            self._common_mask = self._common_mask & ~out
            now_left = int(np.count_nonzero(self._common_mask))
            if now_left < left:
                self._common_removed[reason] += left - now_left
                left = now_left

    def _for_all(self, now: float) -> Iterator[_Judged]:
        rules, shelf = self._rules, self._shelf
        if self._selection is not None:
            yield POOL_QUERY, self._selection.let_go(shelf)
        if rules.sold_out is Display.HIDE and shelf.stock is not None:
            yield SOLD_OUT, shelf.stock <= 0
        if shelf.window is not None:
            opens, closes = shelf.window
            yield NOT_ON_SALE, (now < opens) | (now >= closes)
        if rules.price is not None:
            price = shelf.price
            low, high = rules.price.min or 0.0, rules.price.max
            yield (
                PRICE_OUT_OF_BOUNDS,
                ~((price >= low) & (price <= (np.inf if high is None else high))),
            )
        if rules.coupon_required:
            coupons = shelf.get(c.COUPON_ID)
            yield NO_COUPON, coupons.codes == 0 if isinstance(coupons, Texts) else self._pool
        if rules.filter is not None:
            yield VENUE_FILTER, ~shelf.holds(rules.filter)

    def _own(self, shopper: Shopper) -> Iterator[_Judged]:
        rules, state = self._rules, shopper.state
        if rules.audience is not None and not in_audience(rules.audience, state):
            yield NOT_IN_AUDIENCE, self._pool
        for one, items in zip(rules.only_for, self._restricted, strict=True):
            if not in_audience(one.audience, state):
                yield one.reason, items
        if rules.region:
            elsewhere = self._shelf.elsewhere(shopper.region)
            if elsewhere is not None:
                yield ANOTHER_REGION, elsewhere
        if rules.bought_within_days is not None:
            since = shopper.now - rules.bought_within_days * SECONDS_PER_DAY
            bought = self._of(state.ledger.items[state.ledger.last_at > since])
            if (just := shopper.just_bought) is not None:
                bought[just.items[just.at > since]] = True
            yield ALREADY_BOUGHT, bought
        exposure = state.exposure
        if rules.fatigue is not None and len(exposure.items):
            since = shopper.now - rules.fatigue.within_days * SECONDS_PER_DAY
            tired = (exposure.counts >= rules.fatigue.times) & (exposure.last_at > since)
            yield SHOWN_TOO_OFTEN, self._of(exposure.items[tired])
        if rules.disliked is Display.HIDE and len(exposure.disliked):
            yield DISLIKED, self._of(exposure.disliked)

    def _of(self, items: Int32) -> Mask:
        mask = np.zeros(len(self._pool), dtype=np.bool_)
        mask[items] = True
        return mask


def in_audience(audience: Condition, state: UserState) -> bool:
    """Return whether a user's tags meet a condition; a tag that is not known meets none."""
    return bool(audience.holds(_Tags(state), 1)[0])


class _Tags(Columns):
    """The tags of one user as columns of one row."""

    def __init__(self, state: UserState) -> None:
        self._tags = state.tags

    def get(self, name: str, /) -> Texts | Numbers | Sets | None:
        value = self._tags.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return Texts(np.ones(1, dtype=np.int32), {value: 1})
        if isinstance(value, list | np.ndarray):
            return Sets([frozenset(map(str, value))])
        return Numbers(np.array([value], dtype=np.float64))


def _valid(shelf: Shelf, now: float) -> tuple[float, float]:
    """Return the stretch of time around `now` in which no sale window opens or closes."""
    if shelf.window is None:
        return -np.inf, np.inf
    edges = np.concatenate(shelf.window)
    return (
        float(edges[edges <= now].max(initial=-np.inf)),
        float(edges[edges > now].min(initial=np.inf)),
    )

"""The simulated shoppers of one data set: taste, visits and clicks together, fitted once.

    shoppers = Shoppers.fit(dataset, cut=..., seed=17)

Shapes: `N` items of a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.simulator.clicks import Bool, ClickModel
from benchmarks.simulator.taste import FEATURES, Int64, Purchases, Taste
from benchmarks.simulator.visits import Visits
from qianmian.data.store import Dataset

_PAGES_FOR_OFFSET = 200
_PAGE = 20


@dataclass(frozen=True)
class Visit:
    """One session to come."""

    number: int
    user: int
    at: float


@dataclass(frozen=True)
class Reaction:
    """What a shopper does with a page."""

    clicked: Bool  # [N]
    carted: Bool  # [N]
    ordered: Bool  # [N]
    shared: Bool  # [N]


@dataclass
class Shoppers:
    """Simulated shoppers; their past grows with what they order."""

    taste: Taste
    visits: Visits
    clicks: ClickModel
    rng: np.random.Generator
    _index: dict[str, int]

    @classmethod
    def fit(cls, dataset: Dataset, *, cut: float, seed: int) -> Shoppers:
        """Fit to what a data set holds before `cut` (epoch seconds) and before its split."""
        rng = np.random.default_rng(seed)
        purchases = Purchases.read(dataset).before(cut)
        taste = Taste.fit(purchases, cut=cut, rng=rng)
        visits = Visits.fit(purchases, time_zone=dataset.spec.time_zone)
        index = {str(item): code for code, item in enumerate(purchases.item_ids)}
        shoppers = cls(taste, visits, ClickModel(), rng, index)
        shoppers.clicks = replace(shoppers.clicks, offset=shoppers._typical(cut))
        return shoppers

    def plan(self, count: int, *, start: float, end: float) -> list[Visit]:
        """Draw sessions in [start, end), by time."""
        users, at = self.visits.draw(count, start=start, end=end, rng=self.rng)
        pairs = zip(users.tolist(), at.tolist(), strict=True)
        return [Visit(n, user, moment) for n, (user, moment) in enumerate(pairs)]

    def name(self, user: int) -> str:
        """User id of a code."""
        return str(self.taste.past.user_ids[user])

    def usual_page(self, user: int, size: int = _PAGE) -> list[str]:
        """A page without a service: what the user often buys and what everybody buys."""
        popular = self.taste.by_popularity(5 * size).tolist()
        own = self.taste.owned(user)[: 2 * size]
        pool = np.array(list(dict.fromkeys([*own, *popular])), dtype=np.int64)
        chosen = self.rng.choice(pool, min(size, len(pool)), replace=False)
        return [str(item) for item in self.taste.past.item_ids[chosen]]

    def react(
        self, user: int, items: Sequence[str], positions: npt.NDArray[np.integer], now: float
    ) -> Reaction:
        """What a user does with a page; an item that nobody ever ordered is as little wanted."""
        wanted = self.utilities(user, items, now)
        return Reaction(*self.clicks.react(wanted, positions, self.rng))

    def utilities(self, user: int, items: Sequence[str], now: float) -> npt.NDArray[np.float64]:
        """Utilities of items by id, [N]; the least of them for an item never ordered."""
        codes = np.array([self._index.get(item, -1) for item in items], dtype=np.int64)
        known = codes >= 0
        out = np.full(len(codes), self.clicks.offset - 3.0)
        out[known] = self.taste.utility(user, codes[known], now)
        return out

    def order(self, user: int, item: str, at: float) -> None:
        """Take an order in: it changes what the user wants next."""
        code = self._index.get(item)
        if code is not None:
            self.taste.buy(user, code, at)

    def fitted(self) -> dict[str, float]:
        """The weights of the taste by name, for a report."""
        return {
            name: round(float(weight), 3)
            for name, weight in zip(FEATURES, self.taste.weights, strict=True)
        }

    def _typical(self, now: float) -> float:
        """Median utility of what usual pages show."""
        users: Int64 = self.rng.choice(len(self.visits.rates), _PAGES_FOR_OFFSET)
        pages = [self.utilities(u, self.usual_page(u), now) for u in users.tolist()]
        return float(np.median(np.concatenate(pages)))

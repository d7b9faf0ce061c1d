"""What a simulated shopper wants: a logit model of choice, fitted to real orders.

`utility = weights . features` of a user and an item at a moment: personal repurchase and whether it
is due, category affinity, popularity, price against what the user usually pays, and discount. The
weights come from a logistic regression of what was bought in the last weeks before the cut against
items drawn from the user's past, by popularity and at random; nothing after the cut is read.

Shapes: `U` users, `n` items, `C` categories, `N` items at hand, `F` features.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.errors import DataError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

DAY = 86_400.0
FEATURES = (
    "bought",  # log1p of times bought, decayed
    "not_due",  # how far from the usual interval since the last time, for what was bought
    "new",  # never bought
    "category",  # log share of the category in what the user buys
    "popular",  # log share of the item in what everybody buys
    "dear",  # log of the price against the user's mean
    "discount",  # share taken off the list price of late
)
_HALF_LIFE_DAYS = 84.0
_USUAL_DAYS = 28.0  # interval where an item has none of its own
_FIT_DAYS = 28.0
_DRAWN = 12  # items drawn for each one bought
_SMALL = 1e-3


@dataclass(frozen=True)
class Purchases:
    """Order lines before a moment as arrays over user and item codes, by time."""

    user_ids: npt.NDArray[np.object_]  # [U]
    item_ids: npt.NDArray[np.object_]  # [n]
    category: Int64  # [n]; 0 is unknown
    users: Int64
    items: Int64
    at: Float64
    basket: Int64
    price: Float64  # paid per unit, NaN where unknown
    list_price: Float64

    @classmethod
    def read(cls, dataset: Dataset) -> Purchases:
        """Read the orders of a data set's training part (its target where it has no order)."""
        present = set(dataset.event_columns())
        wanted = [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP]
        more = [c.ORDER_ID, c.SESSION_ID, c.VALUE, c.LIST_VALUE, c.QUANTITY]
        events = dataset.train_events([*wanted, *(name for name in more if name in present)])
        kinds = events[c.EVENT_TYPE].astype(str)
        bought = EventType.ORDER.value
        if not (kinds == bought).any():
            bought = dataset.spec.target.value
        events = events[kinds == bought].sort_values(c.TIMESTAMP, kind="stable")
        if not len(events):
            raise DataError(f"{dataset.spec.name}: expected orders to fit shoppers to; it has none")
        user_codes, user_ids = pd.factorize(events[c.USER_ID].astype(str), sort=True)
        item_codes, item_ids = pd.factorize(events[c.ITEM_ID].astype(str), sort=True)
        stamp = events[c.TIMESTAMP].to_numpy(dtype="datetime64[us]")
        at = stamp.astype(np.int64).astype(np.float64) * 1e-6
        return cls(
            user_ids=np.asarray(user_ids, dtype=object),
            item_ids=np.asarray(item_ids, dtype=object),
            category=_categories(dataset, item_ids),
            users=user_codes.astype(np.int64),
            items=item_codes.astype(np.int64),
            at=at,
            basket=_baskets(events, user_codes, at),
            price=_unit(events, c.VALUE),
            list_price=_unit(events, c.LIST_VALUE if c.LIST_VALUE in events else c.VALUE),
        )

    def before(self, moment: float) -> Purchases:
        """The lines before a moment, over the same codes."""
        end = int(np.searchsorted(self.at, moment, side="left"))
        rows = {
            name: getattr(self, name)[:end]
            for name in ("users", "items", "at", "basket", "price", "list_price")
        }
        return Purchases(self.user_ids, self.item_ids, self.category, **rows)


@dataclass
class Taste:
    """Utilities as of what was bought so far; `buy` moves them on."""

    past: Purchases
    weights: Float64  # [F]
    _owned: dict[int, dict[int, tuple[float, float, float]]] = field(repr=False)
    _shares: Float64 = field(repr=False)  # [U, C]
    _popular: Float64 = field(repr=False)  # [n]
    _interval: Float64 = field(repr=False)  # [n]
    _log_price: Float64 = field(repr=False)  # [n], NaN where unknown
    _usual_price: Float64 = field(repr=False)  # [U]
    _discount: Float64 = field(repr=False)  # [n]

    @classmethod
    def fit(cls, purchases: Purchases, *, cut: float, rng: np.random.Generator) -> Taste:
        """Fit the weights on the last weeks before `cut`; utilities are as of `cut`."""
        earlier = cls._of(purchases.before(cut - _FIT_DAYS * DAY), np.zeros(len(FEATURES)))
        recent = purchases.before(cut)
        first = int(np.searchsorted(recent.at, cut - _FIT_DAYS * DAY))
        rows, labels = [], []
        pairs = np.unique(np.stack([recent.users[first:], recent.items[first:]]), axis=1)
        everything = np.arange(len(recent.item_ids))
        chance = np.exp(earlier._popular)  # noqa: SLF001 - its own class
        chance /= chance.sum()
        for user in np.unique(pairs[0]).tolist():
            bought = pairs[1][pairs[0] == user]
            own = np.array(list(earlier._owned.get(user, {})), dtype=np.int64)  # noqa: SLF001
            drawn = np.concatenate(
                [
                    rng.choice(own, min(len(own), _DRAWN * len(bought) // 3), replace=False),
                    rng.choice(everything, _DRAWN * len(bought) // 3, p=chance),
                    rng.choice(everything, _DRAWN * len(bought) // 3),
                ]
            )
            items = np.concatenate([bought, np.setdiff1d(drawn, bought)])
            rows.append(earlier.features(user, items, cut - _FIT_DAYS * DAY / 2))
            labels.append(np.arange(len(items)) < len(bought))
        if not rows:
            raise DataError("expected orders in the four weeks before the cut to fit shoppers to")
        weights = _logistic(np.concatenate(rows), np.concatenate(labels).astype(np.float64))
        return cls._of(recent, weights)

    def features(self, user: int, items: Int64, now: float) -> Float64:
        """Features of items for a user at a moment, [N, F]."""
        out = np.zeros((len(items), len(FEATURES)))
        owned = self._owned.get(user, {})
        for row, item in enumerate(items.tolist()):
            entry = owned.get(item)
            if entry is None:
                out[row, 2] = 1.0
                continue
            weight, times, last = entry
            days = max(now - last, 0.0) / DAY
            out[row, 0] = np.log1p(weight * 0.5 ** (days / _HALF_LIFE_DAYS) + 0.1 * times)
            out[row, 1] = abs(np.log((days + 1.0) / (self._interval[item] + 1.0)))
        out[:, 3] = np.log(self._shares[user, self.past.category[items]] + _SMALL)
        out[:, 4] = self._popular[items]
        out[:, 5] = np.nan_to_num(self._log_price[items] - self._usual_price[user])
        out[:, 6] = self._discount[items]
        return out

    def utility(self, user: int, items: Int64, now: float) -> Float64:
        """How much a user wants each item at a moment, as log odds up to a constant, [N]."""
        utilities: Float64 = self.features(user, items, now) @ self.weights
        return utilities

    def buy(self, user: int, item: int, at: float) -> None:
        """Take a simulated order in: what was bought is not due for a while."""
        owned = self._owned.setdefault(user, {})
        weight, times, last = owned.get(item, (0.0, 0.0, at))
        decay = 0.5 ** (max(at - last, 0.0) / DAY / _HALF_LIFE_DAYS)
        owned[item] = (weight * decay + 1.0, times + 1.0, at)

    def owned(self, user: int) -> list[int]:
        """Items that a user bought so far, the most often bought first."""
        entries = self._owned.get(user, {})
        return sorted(entries, key=lambda item: (-entries[item][1], item))

    def by_popularity(self, count: int) -> Int64:
        """The items that most lines are of, most first."""
        order: Int64 = np.argsort(-self._popular, kind="stable")[:count]
        return order

    @classmethod
    def _of(cls, past: Purchases, weights: Float64) -> Taste:
        size, now = len(past.item_ids), float(past.at.max(initial=0.0))
        owned: dict[int, dict[int, tuple[float, float, float]]] = {}
        gaps: dict[int, list[float]] = {}
        for user, item, at in zip(
            past.users.tolist(), past.items.tolist(), past.at.tolist(), strict=True
        ):
            mine = owned.setdefault(user, {})
            weight, times, last = mine.get(item, (0.0, 0.0, at))
            days = (at - last) / DAY
            if times and days > 1.0:
                gaps.setdefault(item, []).append(days)
            mine[item] = (weight * 0.5 ** (days / _HALF_LIFE_DAYS) + 1.0, times + 1.0, at)
        interval = np.full(size, _USUAL_DAYS)
        for item, days_between in gaps.items():
            interval[item] = float(np.median(days_between))
        categories = int(past.category.max(initial=0)) + 1
        shares = np.zeros((len(past.user_ids), categories))
        np.add.at(shares, (past.users, past.category[past.items]), 1.0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
        recent = past.at >= now - _USUAL_DAYS * DAY
        lines = np.bincount(past.items[recent], minlength=size)
        price, listed = _means(past, past.price, recent), _means(past, past.list_price, recent)
        with np.errstate(divide="ignore", invalid="ignore"):
            discount = np.nan_to_num(np.clip(1.0 - price / listed, 0.0, 1.0))
            log_price = np.log(price)
        log_price[~np.isfinite(log_price)] = np.nan
        usual = _user_means(past, log_price)
        return cls(
            past=past,
            weights=weights,
            _owned=owned,
            _shares=shares,
            _popular=np.log((lines + 0.5) / (lines.sum() + 0.5 * size)),
            _interval=interval,
            _log_price=log_price,
            _usual_price=usual,
            _discount=discount,
        )


def _logistic(features: Float64, labels: Float64, *, ridge: float = 1.0) -> Float64:
    """Weights of a ridge logistic regression by Newton's method; the intercept is dropped."""
    x = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30.0, 30.0)))
        gradient = x.T @ (p - labels) + ridge * weights
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + ridge * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:  # noqa: PLR2004 - converged
            break
    kept: Float64 = weights[:-1]
    return kept


def _categories(dataset: Dataset, item_ids: pd.Index) -> Int64:
    items = dataset.items()
    if items is None or c.CATEGORY not in items:
        return np.zeros(len(item_ids), dtype=np.int64)
    of_item = items.assign(**{c.ITEM_ID: items[c.ITEM_ID].astype(str)}).set_index(c.ITEM_ID)
    codes, _ = pd.factorize(of_item[c.CATEGORY].reindex(item_ids))
    return (codes + 1).astype(np.int64)


def _baskets(events: pd.DataFrame, users: npt.NDArray[np.integer], at: Float64) -> Int64:
    """A number for each visit: its order, else its session, else the user's day."""
    name = next((name for name in (c.ORDER_ID, c.SESSION_ID) if name in events), None)
    if name is not None and events[name].notna().all():
        return pd.factorize(events[name].astype(str))[0].astype(np.int64)
    days = (at // DAY).astype(np.int64)
    return pd.factorize(users.astype(np.int64) * 1_000_000 + days)[0].astype(np.int64)


def _unit(events: pd.DataFrame, name: str) -> Float64:
    if name not in events:
        return np.full(len(events), np.nan)
    amount = events[name].to_numpy(dtype=np.float64)
    if c.QUANTITY in events:
        amount = amount / np.maximum(np.nan_to_num(events[c.QUANTITY].to_numpy(float), nan=1), 1.0)
    return np.where(amount > 0, amount, np.nan)


def _means(past: Purchases, price: Float64, recent: npt.NDArray[np.bool_]) -> Float64:
    """Mean price of each item, of late where it sold of late, NaN where unknown, [n]."""
    size = len(past.item_ids)
    out = np.full(size, np.nan)
    for rows in (np.isfinite(price), np.isfinite(price) & recent):
        count = np.bincount(past.items[rows], minlength=size)
        total = np.bincount(past.items[rows], weights=price[rows], minlength=size)
        out = np.where(count > 0, total / np.maximum(count, 1), out)
    return out


def _user_means(past: Purchases, log_price: Float64) -> Float64:
    paid = log_price[past.items]
    known = np.isfinite(paid)
    size = len(past.user_ids)
    count = np.bincount(past.users[known], minlength=size)
    total = np.bincount(past.users[known], weights=paid[known], minlength=size)
    overall = float(paid[known].mean()) if known.any() else 0.0
    return np.where(count > 0, total / np.maximum(count, 1), overall)

"""Ranking features: what the ranker sees of a user, a candidate and the two together.

One function for training and serving. It takes a user state, the resident item table and the
candidates that retrieval proposed, and gives one row a candidate. Features of repeat purchase
(how often, how long ago, against the usual interval) carry most of the signal on retail data: a
decayed personal frequency is a strong ranker by itself, so it comes in at several half-lives.

Shapes: `N` candidates, `F` features, `M` ledger entries, `L` recent actions, `D` vector width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts import features as f
from qianmian.features.encoding import ITEM_DENSE_FEATURES, item_dense, log_days, squash
from qianmian.features.families import Families, family_kinds
from qianmian.features.item_table import Float32, Float64, Int32, ItemTable
from qianmian.features.user_state import SECONDS_PER_DAY, Affinity, UserState
from qianmian.retrieval.sources import SOURCES, Candidates

#: Raised whenever a column, or what a user remembers, comes to mean something else under its name.
REVISION: Final = 6

#: Above 0 for items that the user did the target action on before.
IS_REPEAT: Final = "is_repeat"

_USER_FEATURES: Final = (
    *(f"user_{name}" for name in f.USER_ACTIVITY_NUMERIC),
    "user_days_since_first_action",  # at most MATURE_DAYS: else it tells the date
    "user_days_since_last_action",
    "user_days_since_last_target",
)
#: From then on a user is no newcomer.
MATURE_DAYS: Final = 84.0
_LAST_VISITS: Final = (1, 2, 3, 5, 8, 12, 24)
_LEDGER_FEATURES: Final = (
    "bought_count",
    "bought_quantity",
    *(f"bought_decayed_{days}d" for days in f.LEDGER_HALF_LIVES_DAYS),
    *(f"bought_share_{days}d" for days in f.LEDGER_HALF_LIVES_DAYS),
    "bought_rate",  # times a week since the first time
    "bought_days_since_last",
    "bought_days_since_first",
    "bought_mean_interval",
    "bought_overdue",  # days since last against the own mean interval
    "bought_overdue_item",  # the same against the item's usual interval
    "bought_per_session",  # share of the user's sessions since that hold the item
    IS_REPEAT,
    *(f"bought_in_last_{visits}" for visits in _LAST_VISITS),  # share of the user's last visits
    "bought_visits_ago",  # visits since the last one that held the item
)
_ITEM_FEATURES: Final = tuple(f"item_{name}" for name in ITEM_DENSE_FEATURES)
_CROSS_FEATURES: Final = (
    "retrieval_score",  # in standard deviations above a mean item
    "retrieval_rank",  # log rank among this user's candidates, by retrieval score
    "neighbour_score",  # sum of item-to-item weights over the user's past
    "factor_score",  # product of the user's and the item's factors
    "similarity_recent_max",
    "similarity_recent_mean",
    "similarity_ledger",  # cosine with the decayed mean of what was bought
    "price_to_user_mean",
    "taste",  # log1p of how much the user's past says for the families of the item
    *(f"source_{name}" for name in SOURCES),
)


_OF_AFFINITY: Final = (
    "weight",
    "share",
    "days_since",
    "known",
    "item",  # of the weight the share that is the item's own
)


def affinity_features(kind: str) -> tuple[str, ...]:
    """Names of the features of one kind of families (`qianmian.features.families`)."""
    return tuple(f"{kind}_affinity_{name}" for name in _OF_AFFINITY)


def feature_names(affinity_columns: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the ranking features in column order."""
    kinds = family_kinds(affinity_columns)
    affinity = (name for kind in kinds for name in affinity_features(kind))
    return (*_USER_FEATURES, *_ITEM_FEATURES, *_LEDGER_FEATURES, *_CROSS_FEATURES, *affinity)


@dataclass(frozen=True, slots=True)
class Preference:
    """A user's preference for the families of one kind, laid out to look codes up."""

    codes: Int32  # [K], ascending
    weight: Float32  # [K] log1p of the decayed count
    share: Float32  # [K] square root of the share
    total: Float32  # [K] decayed count
    last_at: Float64  # [K]

    @classmethod
    def of(cls, affinity: Affinity) -> Preference:
        """Lay out an affinity that holds something."""
        order = np.argsort(affinity.codes)
        weights = affinity.weights[order]
        total = max(float(affinity.weights.sum()), 1e-9)
        return cls(
            codes=affinity.codes[order],
            weight=np.log1p(weights),
            share=np.sqrt(weights / total),
            total=weights,
            last_at=affinity.last_at[order],
        )

    def rows(self, codes: Int32, own: Float32, now: float) -> Float32:
        """Features of items by their attribute codes, float32 [N, 5], as `affinity_features`.

        `own` [N] is the user's decayed count of each item, of the half-life of the affinities.
        """
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        known = (self.codes[place] == codes) & (codes > 0)
        table = np.empty((len(self.codes), len(_OF_AFFINITY)), dtype=np.float32)
        table[:, 0], table[:, 1] = self.weight, self.share
        table[:, 2], table[:, 3] = log_days(now - self.last_at), 1.0
        table[:, 4] = 1.0 / (self.total + _SMOOTHING)
        rows: Float32 = table[place]
        rows[:, 4] *= own
        rows[~known] = 0.0
        return rows


@dataclass(frozen=True, slots=True)
class _PreparedUser:
    """A user state with all that its ranking features need and no candidate or clock decides."""

    state: UserState
    activity: Float32  # in model-ready scale
    order: npt.NDArray[np.intp]  # [M] ledger rows by item index
    owned: Int32  # [M] ledger items, ascending
    bought: Float32  # [M, 2] log1p of counts and quantities
    shares: Float32  # [M, H] square roots of the shares of the decayed counts
    in_last: Float32  # [M, V + 1] shares of the last visits, log1p of visits ago
    directions: Float32  # [D, L + 2] unit vectors of the recent items, their mean, the taste
    preferences: dict[str, Preference]


class RankingFeatures:
    """Computes ranking features against one item table and its vectors.

    What depends on items alone is laid out once, so a request gathers rows instead of computing
    them. `vectors` is float32 [n, D], the items' retrieval vectors.
    """

    def __init__(
        self, items: ItemTable, vectors: Float32, affinity_columns: tuple[str, ...], now: float
    ) -> None:
        """`now` (epoch seconds) dates the item ages: the moment the statistics refer to."""
        self.names = feature_names(affinity_columns)
        self._items = items
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
        self._item_rows = item_dense(items, now)
        self._interval = items.statistic(f.REPEAT_INTERVAL_DAYS)
        price = items.statistic(f.PAID_PRICE)
        self._log_price = np.log(np.maximum(price, _LEAST_PRICE))
        self._priced = (price > 0).astype(np.float32)
        self._log_ranks = np.log1p(np.arange(_USUAL_CANDIDATES)).astype(np.float32)
        self.families = Families.of(items, affinity_columns)
        self._acted_on = items.acted_on
        self._start = np.cumsum(
            [0]
            + [
                len(block)
                for block in (_USER_FEATURES, _ITEM_FEATURES, _LEDGER_FEATURES, _CROSS_FEATURES)
            ]
        )

    def refresh(self, rows: Int32, now: float) -> None:
        """Take over the statistics of some items, which changed in the item table; as of `now`."""
        self._item_rows[rows] = item_dense(self._items, now, rows)
        price = self._items.statistic(f.PAID_PRICE)[rows]
        self._log_price[rows] = np.log(np.maximum(price, _LEAST_PRICE))
        self._priced[rows] = price > 0
        self._acted_on[rows] = self._items.acted_on[rows]

    def compute(self, user: UserState, candidates: Candidates, now: float) -> Float32:
        """Features of a user's candidates at `now` (epoch seconds), float32 [N, F]."""
        return self._rows(self._prepare(user), candidates, now)

    def _prepare(self, user: UserState) -> _PreparedUser:
        """What depends on the user alone."""
        ledger, recent = user.ledger, self._unit[user.recent_items]
        order = np.argsort(ledger.items)
        mean = recent.sum(axis=0) / max(len(recent), 1)
        taste = ledger.decayed[:, _TASTE_HALF_LIFE] @ self._unit[ledger.items]
        taste /= max(float(np.linalg.norm(taste)), 1e-9)
        total = np.maximum(ledger.decayed.sum(axis=0, keepdims=True), 1e-9)
        return _PreparedUser(
            state=user,
            activity=squash(user.activity),
            order=order,
            owned=ledger.items[order],
            bought=np.log1p(np.stack([ledger.counts, ledger.quantities], axis=1)),
            shares=np.sqrt(ledger.decayed / total),
            in_last=_in_last(ledger.visits),
            directions=np.ascontiguousarray(np.vstack([recent, mean, taste]).T),
            preferences={
                kind: Preference.of(held) for kind, held in self.families.affinities(user).items()
            },
        )

    def _rows(self, user: _PreparedUser, candidates: Candidates, now: float) -> Float32:
        items = candidates.items
        out = np.zeros((len(items), len(self.names)), dtype=np.float32)
        a, b, c, d, e = self._start
        out[:, a : b - 3] = user.activity
        out[:, b - 3 : b] = _days_since(user.state, now)
        out[:, b:c] = self._item_rows[items]
        self._ledger(out[:, c:d], user, items, now)
        self._cross(out[:, d:e], user, candidates)
        width = len(_OF_AFFINITY)
        own = np.expm1(out[:, c + _OWN])
        for i, (kind, codes) in enumerate(self.families.codes.items()):
            preference = user.preferences.get(kind)
            if preference is not None:
                start = e + i * width
                out[:, start : start + width] = preference.rows(codes[items], own, now)
        return out

    def _ledger(self, out: Float32, user: _PreparedUser, items: Int32, now: float) -> None:
        ledger, owned = user.state.ledger, user.owned
        if not len(owned):
            return
        place = np.minimum(np.searchsorted(owned, items), len(owned) - 1)
        hit = np.flatnonzero(owned[place] == items)
        row = user.order[place[hit]]
        counts = ledger.counts[row]
        since_last = np.maximum(now - ledger.last_at[row], 0.0) / SECONDS_PER_DAY
        since_first = np.maximum(now - ledger.first_at[row], 0.0) / SECONDS_PER_DAY
        repeated = counts > 1
        interval = (since_first - since_last) / np.maximum(counts - 1, 1) * repeated
        usual = self._interval[items[hit]]
        gap = max(float(user.state.activity[_SESSION_GAP]), 0.5)
        values = np.empty((len(row), len(_LEDGER_FEATURES)), dtype=np.float32)
        values[:, _BOUGHT] = user.bought[row]
        values[:, _DECAYED] = ledger.decayed_at(now, row)
        values[:, _SHARES] = user.shares[row]  # decay cancels out of a share
        values[:, _RATE] = 7.0 * counts / (since_first + 7.0)
        values[:, _RATE + 1] = since_last
        values[:, _RATE + 2] = since_first
        values[:, _RATE + 3] = interval
        values[:, _RATE + 4] = since_last / np.maximum(interval, 0.5) * (interval > 0)
        values[:, _RATE + 5] = since_last / np.maximum(usual, 0.5) * (usual > 0)
        values[:, _RATE + 6] = np.minimum(counts / np.maximum(since_first / gap, 1.0), 1.0)
        values[:, _RATE + 7] = 1.0
        values[:, _LAST] = user.in_last[row]
        for logged in (_DECAYED, slice(_RATE, _RATE + 6)):
            np.log1p(values[:, logged], out=values[:, logged])
        out[hit] = values

    def _cross(self, out: Float32, user: _PreparedUser, candidates: Candidates) -> None:
        items, scores = candidates.items, candidates.retrieval
        recent = user.state.recent_items
        rank = np.empty(len(items), dtype=np.float32)
        rank[np.argsort(-scores, kind="stable")] = self._log_rank(len(items))
        similarity = self._unit[items] @ user.directions  # [N, L + 2]
        out[:, 0] = scores
        out[:, 1] = rank
        out[:, 2] = candidates.neighbour
        out[:, 3] = candidates.factor
        if len(recent):
            out[:, 4] = _max_but_self(similarity[:, :-2], items, recent)
        out[:, 5:7] = similarity[:, -2:]
        mean = float(user.state.activity[_MEAN_PRICE])
        if mean > 0:
            out[:, 7] = (self._log_price[items] - math.log(mean)) * self._priced[items]
        out[:, 8] = np.log1p(self.families.taste(user.state.ledger, items))
        out[np.arange(len(items)), 9 + candidates.source] = 1.0
        unseen = np.flatnonzero(~self._acted_on[items])
        out[unseen[:, None], _OF_TOWERS] = 0.0
        out[unseen, 1] = np.log1p(len(items))  # behind all that have a rank

    def _log_rank(self, count: int) -> Float32:
        """log1p of 0, 1, ... count - 1."""
        ranks = self._log_ranks
        if count > len(ranks):  # several threads may do so; each goes on with its own
            self._log_ranks = ranks = np.log1p(np.arange(2 * count)).astype(np.float32)
        return ranks[:count]


_USUAL_CANDIDATES: Final = 1024
#: Cross features that stand on the items' vectors: those of an item that nobody acted on yet are
#: what its attributes were taught by others, and trusted too much where these are many.
_OF_TOWERS: Final = [
    number
    for number, name in enumerate(_CROSS_FEATURES)
    if name.startswith(("retrieval_", "similarity_"))
]
_LEAST_PRICE: Final = 0.01  # of what is compared by its logarithm
_H: Final = len(f.LEDGER_HALF_LIVES_DAYS)
_BOUGHT: Final = slice(0, 2)
_DECAYED: Final = slice(2, 2 + _H)
_SHARES: Final = slice(2 + _H, 2 + 2 * _H)
_RATE: Final = 2 + 2 * _H
_OWN: Final = 2 + f.LEDGER_HALF_LIVES_DAYS.index(f.AFFINITY_HALF_LIFE_DAYS)  # a decayed count
_SMOOTHING: Final = 0.3  # added to a decayed count that others are divided by
_LAST: Final = slice(_RATE + 8, _RATE + 8 + len(_LAST_VISITS) + 1)
_SESSION_GAP = f.USER_ACTIVITY_NUMERIC.index(f.SESSION_GAP_DAYS)
_MEAN_PRICE = f.USER_ACTIVITY_NUMERIC.index(f.MEAN_PRICE)
_TASTE_HALF_LIFE = f.LEDGER_HALF_LIVES_DAYS.index(84)


def _in_last(visits: npt.NDArray[np.int64]) -> Float32:
    """Shares of the last visits that held each item, and log1p of the visits ago, [M, V + 1]."""
    out = np.empty((len(visits), len(_LAST_VISITS) + 1), dtype=np.float32)
    for i, count in enumerate(_LAST_VISITS):
        out[:, i] = np.bitwise_count(visits & ((1 << count) - 1)) / count
    lowest = visits & -visits
    ago = np.where(visits > 0, np.bitwise_count(lowest - 1), f.LEDGER_VISITS_KEPT)
    out[:, -1] = np.log1p(ago)
    return out


def _days_since(user: UserState, now: float) -> list[float]:
    moments = (user.first_action_at, user.last_action_at, user.last_target_at)
    days = [max(now - moment, 0.0) / SECONDS_PER_DAY if moment > 0 else 0.0 for moment in moments]
    days[0] = min(days[0], MATURE_DAYS)
    return [math.log1p(value) for value in days]


def _max_but_self(similarity: Float32, items: Int32, recent: Int32) -> Float32:
    """Largest similarity to a recent item other than the candidate itself, float32 [N].

    Writes -1 into `similarity` where a candidate meets itself.
    """
    np.putmask(similarity, items[:, None] == recent[None, :], -1.0)
    others: Float32 = similarity.max(axis=1)
    return others

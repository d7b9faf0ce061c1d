"""Ranking features: what the ranker sees of a user, a candidate and the two together.

One function for training and serving. It takes a user state, the resident item table and the
candidates that retrieval proposed, and gives one row a candidate. Features of repeat purchase
(how often, how long ago, against the usual interval) carry most of the signal on retail data: a
decayed personal frequency is a strong ranker by itself, so it comes in at several half-lives.

Shapes: `N` candidates, `F` features, `M` ledger entries, `L` recent actions, `D` vector width.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from qianmian.contracts import features as f
from qianmian.features.encoding import ITEM_DENSE_FEATURES, item_dense, log_days, squash
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.user_state import SECONDS_PER_DAY, UserState
from qianmian.retrieval.sources import SOURCES, Candidates

_USER_FEATURES: Final = (
    *(f"user_{name}" for name in f.USER_ACTIVITY_NUMERIC),
    "user_days_since_first_action",
    "user_days_since_last_action",
    "user_days_since_last_target",
)
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
    "is_repeat",
)
_ITEM_FEATURES: Final = tuple(f"item_{name}" for name in ITEM_DENSE_FEATURES)
_CROSS_FEATURES: Final = (
    "retrieval_score",
    "retrieval_rank",  # log rank among this user's candidates, by retrieval score
    "similarity_recent_max",
    "similarity_recent_mean",
    "similarity_ledger",  # cosine with the decayed mean of what was bought
    "price_to_user_mean",
    *(f"source_{name}" for name in SOURCES),
)


def affinity_features(column: str) -> tuple[str, ...]:
    """Names of the features of one affinity column."""
    return tuple(f"{column}_affinity_{kind}" for kind in ("weight", "share", "days_since", "known"))


def feature_names(affinity_columns: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the ranking features in column order."""
    affinity = (name for column in affinity_columns for name in affinity_features(column))
    return (*_USER_FEATURES, *_ITEM_FEATURES, *_LEDGER_FEATURES, *_CROSS_FEATURES, *affinity)


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
        self._affinity_columns = affinity_columns
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
        self._item_rows = item_dense(items, now)
        self._interval = items.statistic(f.REPEAT_INTERVAL_DAYS)
        self._price = items.statistic(f.PAID_PRICE)
        self._codes = {name: items.attributes[name].codes for name in affinity_columns}
        self._sizes = {name: len(items.attributes[name]) for name in affinity_columns}
        self._start = np.cumsum(
            [0]
            + [
                len(block)
                for block in (_USER_FEATURES, _ITEM_FEATURES, _LEDGER_FEATURES, _CROSS_FEATURES)
            ]
        )

    def compute(self, user: UserState, candidates: Candidates, now: float) -> Float32:
        """Features of a user's candidates at `now` (epoch seconds), float32 [N, F]."""
        items = candidates.items
        out = np.zeros((len(items), len(self.names)), dtype=np.float32)
        a, b, c, d, e = self._start
        out[:, a:b] = _user_row(user, now)
        out[:, b:c] = self._item_rows[items]
        self._ledger(out[:, c:d], user, items, now)
        self._cross(out[:, d:e], user, candidates)
        width = len(affinity_features(""))
        for i, name in enumerate(self._affinity_columns):
            start = e + i * width
            self._affinity(out[:, start : start + width], user, name, items, now)
        return out

    def _ledger(self, out: Float32, user: UserState, items: Int32, now: float) -> None:
        ledger = user.ledger
        if not len(ledger.items):
            return
        order = np.argsort(ledger.items)
        owned = ledger.items[order]
        place = np.minimum(np.searchsorted(owned, items), len(owned) - 1)
        hit = owned[place] == items
        if not hit.any():
            return
        row = order[place[hit]]
        decayed = ledger.decayed_at(now)
        shares = decayed / np.maximum(decayed.sum(axis=0, keepdims=True), 1e-9)
        counts = ledger.counts[row]
        since_last = np.maximum(now - ledger.last_at[row], 0.0) / SECONDS_PER_DAY
        since_first = np.maximum(now - ledger.first_at[row], 0.0) / SECONDS_PER_DAY
        interval = np.where(counts > 1, (since_first - since_last) / np.maximum(counts - 1, 1), 0.0)
        usual = self._interval[items[hit]]
        sessions = max(float(user.activity[_SESSIONS]), 1.0)
        gap = max(float(user.activity[_SESSION_GAP]), 0.5)
        columns = [
            np.log1p(counts),
            np.log1p(ledger.quantities[row]),
            *np.log1p(decayed[row]).T,
            *np.sqrt(shares[row]).T,
            np.log1p(7.0 * counts / (since_first + 7.0)),
            np.log1p(since_last),
            np.log1p(since_first),
            np.log1p(interval),
            np.where(interval > 0, np.log1p(since_last / np.maximum(interval, 0.5)), 0.0),
            np.where(usual > 0, np.log1p(since_last / np.maximum(usual, 0.5)), 0.0),
            np.minimum(counts / np.maximum(since_first / gap, 1.0), 1.0),
            np.full(len(row), 1.0 if sessions else 0.0),
        ]
        out[hit] = np.stack(columns, axis=1)

    def _cross(self, out: Float32, user: UserState, candidates: Candidates) -> None:
        items, scores = candidates.items, candidates.retrieval
        out[:, 0] = scores
        rank = np.empty(len(items), dtype=np.float32)
        rank[np.argsort(-scores, kind="stable")] = np.arange(len(items), dtype=np.float32)
        out[:, 1] = np.log1p(rank)
        unit = self._unit[items]
        if len(user.recent_items):
            similarity = unit @ self._unit[user.recent_items].T
            out[:, 2] = _max_but_self(similarity, items, user.recent_items)
            out[:, 3] = similarity.mean(axis=1)
        if len(user.ledger.items):
            weights = user.ledger.decayed[:, _TASTE_HALF_LIFE]
            taste = weights @ self._unit[user.ledger.items]
            out[:, 4] = unit @ (taste / max(float(np.linalg.norm(taste)), 1e-9))
        price, mean = self._price[items], float(user.activity[_MEAN_PRICE])
        if mean > 0:
            out[:, 5] = np.where(price > 0, np.log(np.maximum(price, 0.01) / mean), 0.0)
        out[np.arange(len(items)), 6 + candidates.source] = 1.0

    def _affinity(self, out: Float32, user: UserState, name: str, items: Int32, now: float) -> None:
        affinity = user.affinity.get(name)
        if affinity is None or not len(affinity.codes):
            return
        by_code = np.zeros((self._sizes[name], 4), dtype=np.float32)
        total = max(float(affinity.weights.sum()), 1e-9)
        by_code[affinity.codes, 0] = np.log1p(affinity.weights)
        by_code[affinity.codes, 1] = np.sqrt(affinity.weights / total)
        by_code[affinity.codes, 2] = log_days(now - affinity.last_at)
        by_code[affinity.codes, 3] = 1.0
        by_code[0] = 0.0
        out[:] = by_code[self._codes[name][items]]


_SESSIONS = f.USER_ACTIVITY_NUMERIC.index(f.session_count(f.WINDOWS_DAYS[-1]))
_SESSION_GAP = f.USER_ACTIVITY_NUMERIC.index(f.SESSION_GAP_DAYS)
_MEAN_PRICE = f.USER_ACTIVITY_NUMERIC.index(f.MEAN_PRICE)
_TASTE_HALF_LIFE = f.LEDGER_HALF_LIVES_DAYS.index(84)


def _user_row(user: UserState, now: float) -> Float32:
    moments = np.array([user.first_action_at, user.last_action_at, user.last_target_at])
    since = np.where(moments > 0, log_days(now - moments), 0.0)
    return np.concatenate([squash(user.activity), since]).astype(np.float32)


def _max_but_self(similarity: Float32, items: Int32, recent: Int32) -> Float32:
    """Largest similarity to a recent item other than the candidate itself, float32 [N]."""
    same = items[:, None] == recent[None, :]
    others: Float32 = np.where(same, np.float32(-1.0), similarity).max(axis=1)
    return others

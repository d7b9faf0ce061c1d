"""The last weeks before the cut, which choose what a model leaves open.

Rivals are tuned as a team would tune them, and so are item factors: on the past, by the lists of a
sample of users; rivals by lists of the items that they will rank.

Shapes: `U` users, `n` items of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.sources import top_k
from training.actions import Actions, act_again, items_by_user
from training.metrics import ndcg_at
from training.user_items import had_by_users

DAYS: Final = 28
ASKED: Final = 300
_K: Final = 20


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What some users did in the last weeks, and what everybody had before them."""

    moment: float  # epoch seconds at which they begin
    had: sp.csr_array  # [U, n] of all users at the moment, as `had_by_users` tells it
    asked: list[int]  # user codes, at most ASKED
    again: bool  # whether users act on an item again
    ranked: Int32  # items that lists are made of
    _relevant: dict[int, Int32]  # of those

    @classmethod
    def of(
        cls,
        targets: Actions,
        *,
        users: int,
        items: int,
        cut: float,
        ranked: Int32 | None = None,
    ) -> HeldOut:
        """The target actions of the DAYS before `cut` (epoch seconds).

        Only the `ranked` items count where they are given, as those of a venue's pool.
        """
        moment = cut - DAYS * SECONDS_PER_DAY
        ranked = np.arange(items, dtype=np.int32) if ranked is None else ranked
        relevant = items_by_user(targets.between(moment, cut).on(ranked, of=items))
        return cls(
            moment=moment,
            had=had_by_users(targets, users=users, items=items, moment=moment),
            asked=np.random.default_rng(0).permutation(sorted(relevant))[:ASKED].tolist(),
            again=act_again(targets),
            ranked=ranked,
            _relevant=relevant,
        )

    def ndcg(self, user: int, scores_n: Float32) -> tuple[float, float]:
        """NDCG@20 of the list of what is ranked: of everything, and of what is new to the user.

        Where users do not act on an item again both are of what is new.
        """
        relevant, owned = self._relevant[user], self._owned(user)
        best = top_k(scores_n[self.ranked], _K + len(owned))  # holds _K new ones, if there are
        first = self.ranked[best]
        new = _ndcg(first[np.isin(first, owned, invert=True)], np.setdiff1d(relevant, owned))
        return _ndcg(first, relevant) if self.again else new, new

    def _owned(self, user: int) -> Int32:
        a, b = self.had.indptr[user : user + 2]
        owned: Int32 = self.had.indices[a:b]
        return owned


def _ndcg(ranked: Int32, relevant: Int32) -> float:
    if not len(relevant):
        return 0.0
    return ndcg_at(np.isin(ranked[:_K], relevant), len(relevant), _K)

"""Candidate sources: what proposes the items that the ranker orders.

Each source gives item indices in its own order; `merge` takes each source's quota in turn and
keeps an item's first source. Training proposes with the same functions as serving, on what was
known then, so the ranker learns on such candidates as it will meet.

Shapes: `n` items of the catalogue, `P` items of a pool, `N` candidates, `D` vector width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from qianmian.distinct import distinct
from qianmian.features.families import Families
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.user_state import UserState
from qianmian.retrieval.factors import Factors
from qianmian.retrieval.neighbours import HALF_LIFE, Neighbours, popularity_prior
from qianmian.retrieval.scale import ScoreScale

Int8 = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

TWO_TOWER: Final = "two_tower"
REPEAT: Final = "repeat"
NEIGHBOURS: Final = "neighbours"
FACTORS: Final = "factors"
TRENDING: Final = "trending"
NEW: Final = "new"
UNSEEN: Final = "unseen"
FALLBACK: Final = "fallback"

#: All sources, in the order in which they claim an item that several propose.
SOURCES: Final = (REPEAT, NEIGHBOURS, FACTORS, UNSEEN, TWO_TOWER, TRENDING, NEW, FALLBACK)
#: A quota cannot be larger.
LONGEST: Final = 2000
SOURCE_CODE: Final = {name: code for code, name in enumerate(SOURCES)}


class SourceQuotas(BaseModel):
    """How many candidates each source may propose: by default what serving ranks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeat: int = Field(default=250, ge=0, le=LONGEST)
    neighbours: int = Field(default=60, ge=0, le=LONGEST)
    factors: int = Field(default=60, ge=0, le=LONGEST)
    two_tower: int = Field(default=60, ge=0, le=LONGEST)
    trending: int = Field(default=50, ge=0, le=LONGEST)
    new: int = Field(default=10, ge=0, le=LONGEST)
    unseen: int = Field(default=10, ge=0, le=LONGEST)

    @classmethod
    def only(cls, **quotas: int) -> SourceQuotas:
        """These sources and no other."""
        return cls(**dict.fromkeys(cls.model_fields, 0) | quotas)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct items that may be shown, with what proposed each."""

    items: Int32  # [N]
    source: Int8  # [N], index into SOURCES
    retrieval: Float32  # [N], two-tower score, as `Pool.scores` tells it
    neighbour: Float32  # [N], what the user's past says for it by item neighbours
    factor: Float32  # [N], and by item factors

    def __len__(self) -> int:
        return len(self.items)

    def then(self, others: Candidates) -> Candidates:
        """These, and behind them others that are none of them."""
        return Candidates(
            np.concatenate([self.items, others.items]),
            np.concatenate([self.source, others.source]),
            np.concatenate([self.retrieval, others.retrieval]),
            np.concatenate([self.neighbour, others.neighbour]),
            np.concatenate([self.factor, others.factor]),
        )

    def take(self, rows: npt.NDArray[np.generic]) -> Candidates:
        """The candidates at these rows (indices or a mask)."""
        return Candidates(
            self.items[rows],
            self.source[rows],
            self.retrieval[rows],
            self.neighbour[rows],
            self.factor[rows],
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """The items a venue may show, laid out for a matrix product and what the past says.

    `items` is int32 [P], ascending; `vectors` float32 [P, D] contiguous; `trending` and `new` are
    int32 item indices in the order of those sources; `unseen` the places in `items` of those that
    nobody did the target action on yet; `factored` the rows of the factors of those that have some;
    `member` is a bool mask over the catalogue; `prior` is float32 [P], the popularity that the
    neighbour source adds.
    """

    items: Int32
    vectors: Float32
    trending: Int32
    new: Int32
    unseen: Places
    factored: Places
    member: npt.NDArray[np.bool_] = field(repr=False)
    neighbours: Neighbours = field(repr=False)
    factors: Factors = field(repr=False)
    families: Families = field(repr=False)
    scale: ScoreScale = field(repr=False)
    prior: Float32 = field(repr=False)

    @classmethod
    def build(
        cls,
        table: ItemTable,
        vectors: Float32,
        neighbours: Neighbours,
        factors: Factors,
        families: Families,
        scale: ScoreScale,
        indices: Int32 | None = None,
    ) -> Pool:
        """Lay out a pool; `indices` None means the whole catalogue."""
        whole = indices is None
        items = np.arange(len(table), dtype=np.int32) if indices is None else distinct(indices)
        items = items[items >= 0].astype(np.int32)
        member = np.zeros(len(table), dtype=np.bool_)
        member[items] = True
        return cls(
            items=items,
            vectors=vectors if whole else np.ascontiguousarray(vectors[items]),
            trending=_descending(items, table.popularity[items]),
            new=_descending(items, table.first_seen_at[items]),
            unseen=np.flatnonzero(~table.acted_on[items]),
            factored=np.flatnonzero(member[factors.items]),
            member=member,
            neighbours=neighbours,
            factors=factors,
            families=families,
            scale=scale,
            prior=popularity_prior(table)[items],
        )

    def scores(self, users: Float32, places: Places | slice = slice(None)) -> Float32:
        """Two-tower scores of items of the pool for users [..., D], float32 [..., P]."""
        return self.scale.scores(users, self.vectors[places])

    def without(self, items: Int32) -> Mask:
        """Items of the pool but for these, bool [n] over the catalogue."""
        left = self.member.copy()
        left[items] = False
        return left

    def reordered(self, table: ItemTable) -> Pool:
        """The same items in the order of the statistics that the table holds now."""
        return replace(
            self,
            trending=_descending(self.items, table.popularity[self.items]),
            new=_descending(self.items, table.first_seen_at[self.items]),
            unseen=np.flatnonzero(~table.acted_on[self.items]),
            prior=popularity_prior(table)[self.items],
        )


def top_k(scores: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.intp]:
    """Positions of the k largest scores, largest first, ties by position; NaN sinks below all.

    Exact. Where there are many scores, every eighth tells a floor that about 1.5 k of them pass,
    and only those are sorted: a quarter of the time of a partition of all.
    """
    if k <= 0:
        return np.zeros(0, dtype=np.intp)
    if len(scores) >= _MANY * k:
        sample = scores[::_STEP]
        rank = max(len(sample) - (3 * k // (2 * _STEP) + _SPARE), 0)
        passed = np.flatnonzero(scores >= np.partition(sample, rank)[rank])
        if len(passed) >= k:
            return passed[np.argsort(-scores[passed], kind="stable")[:k]]
    falling = -scores
    falling[np.isnan(falling)] = np.inf
    return np.argsort(falling, kind="stable")[:k]


_MANY: Final = 16  # times k
_STEP: Final = 8
_SPARE: Final = 16  # keeps the floor low enough where k is small


def propose(
    user: UserState, vector: Float32, pool: Pool, quotas: SourceQuotas, allowed: Mask | None = None
) -> Candidates:
    """Candidates of a user from all sources, distinct, at most the sum of the quotas.

    Args:
        user: the user's state (the repeat source reads its ledger).
        vector: float32 [D], the user's retrieval vector.
        pool: the items of the venue.
        quotas: candidates a source may add.
        allowed: bool [n] over the catalogue, the items of the pool that this user may see; None
            for all of them. Each source fills its quota with these.
    """
    return propose_scored(user, pool.scores(vector), pool, quotas, allowed)


def propose_scored(
    user: UserState, scores: Float32, pool: Pool, quotas: SourceQuotas, allowed: Mask | None = None
) -> Candidates:
    """As `propose`, where the items' retrieval scores [P] are there: of many users at once."""
    spoken = pool.neighbours.scores(user.ledger)[pool.items]
    liked = pool.factors.by_row(user.ledger)
    trending, new, unseen = pool.trending, pool.new, pool.unseen
    closed = None
    if allowed is not None:
        trending, new = trending[allowed[trending]], new[allowed[new]]
        unseen = unseen[allowed[pool.items[unseen]]]
        closed = np.flatnonzero(~allowed[pool.items])
    member = pool.member if allowed is None else allowed
    proposals = (
        (REPEAT, _repeat(user, member)[: quotas.repeat]),
        (NEIGHBOURS, _neighbours(user, spoken, pool, quotas.neighbours, closed)),
        (FACTORS, _liked(user, liked, pool, quotas.factors, allowed)),
        (UNSEEN, _unseen(user, scores, unseen, pool, quotas.unseen)),
        (TWO_TOWER, _nearest(scores, pool, quotas.two_tower, closed)),
        (TRENDING, trending[: quotas.trending]),
        (NEW, new[: quotas.new]),
    )
    items, source = merge(proposals)
    places = np.searchsorted(pool.items, items)
    return Candidates(
        items=items,
        source=source,
        retrieval=scores[places],
        neighbour=spoken[places],
        factor=liked[pool.factors.row[items]],
    )


def merge(proposals: tuple[tuple[str, Int32], ...]) -> tuple[Int32, Int8]:
    """Join the proposals of several sources; the first source to name an item keeps it."""
    items = np.concatenate([items for _, items in proposals])
    source = np.concatenate(
        [np.full(len(items), SOURCE_CODE[name], dtype=np.int8) for name, items in proposals]
    )
    _, first = np.unique(items, return_index=True)
    first.sort()
    return items[first].astype(np.int32), source[first]


def _nearest(scores: Float32, pool: Pool, quota: int, closed: Places | None) -> Int32:
    """Items of the pool by their score, those at `closed` places left out."""
    if closed is None:
        return pool.items[top_k(scores, min(quota, len(scores)))]
    scores = scores.copy()
    scores[closed] = -np.inf
    return pool.items[top_k(scores, min(quota, len(scores) - len(closed)))]


def _repeat(user: UserState, member: Mask) -> Int32:
    """The user's own items among these, by decayed count, then the most recent first."""
    ledger = user.ledger
    held = member[ledger.items]
    weights = ledger.decayed[held, HALF_LIFE]
    order = np.lexsort((-ledger.last_at[held], -weights))
    return ledger.items[held][order]


def _neighbours(
    user: UserState, spoken: Float32, pool: Pool, quota: int, closed: Places | None
) -> Int32:
    """Items of the pool that the user does not have, by what the past says and popularity."""
    scores = spoken + pool.prior
    if closed is not None:
        scores[closed] = -np.inf
    owned = user.ledger.items[pool.member[user.ledger.items]]
    scores[np.searchsorted(pool.items, owned)] = -np.inf
    best = top_k(scores, min(quota, len(scores) - len(owned)))
    return pool.items[best[scores[best] > 0]]


def _liked(
    user: UserState, scores_of_rows: Float32, pool: Pool, quota: int, allowed: Mask | None
) -> Int32:
    """Items of the pool that the user does not have, by factors, where these speak for them."""
    scores_of_rows = scores_of_rows.copy()
    scores_of_rows[pool.factors.row[user.ledger.items]] = -np.inf
    items, scores = pool.factors.items[pool.factored], scores_of_rows[pool.factored]
    if allowed is not None:
        scores[~allowed[items]] = -np.inf
    best = top_k(scores, quota)
    return items[best[scores[best] > 0]]


def _unseen(user: UserState, scores: Float32, places: Places, pool: Pool, quota: int) -> Int32:
    """Items at these places by the user's taste; where it says nothing, by their score."""
    if not quota or not len(places):
        return pool.items[:0]
    items = pool.items[places]
    taste = pool.families.taste(user.ledger, items)
    return items[top_k(taste + _TIE * scores[places], min(quota, len(items)))]


_TIE: Final = np.float32(1e-4)  # of a score in standard deviations against taste


def _descending(items: Int32, values: npt.NDArray[np.floating]) -> Int32:
    kept = values > 0
    ordered: Int32 = items[kept][np.argsort(-values[kept], kind="stable")]
    return ordered[:LONGEST]

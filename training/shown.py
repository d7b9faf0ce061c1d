"""What the ranker learns from logged pages: each shown item as it was described then.

For the user of a page the same sources run and the same ranking features are computed as in
serving, on the snapshot before the page and at the page's moment; of all candidates the rows of the
shown ones are kept. Where a page was put together by chance, a row weighs the inverse of its
propensity, so that what is seldom shown counts like what is shown often.

Shapes: `R` shown items of all pages, `F` features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qianmian.features.item_table import Float32, Int32
from qianmian.features.memory import Memory
from qianmian.features.ranking_features import RankingFeatures
from qianmian.features.user_state import UserState
from qianmian.retrieval.sources import (
    FALLBACK,
    SOURCE_CODE,
    Candidates,
    Pool,
    SourceQuotas,
    propose,
)
from training.exposures import Exposures
from training.profile import RankerProfile
from training.proposals import Examples
from training.segments import segments_of


def shown_examples(
    exposures: Exposures,
    users: dict[str, tuple[UserState, Float32]],
    *,
    pool: Pool,
    features: RankingFeatures,
    again: bool,
    profile: RankerProfile,
) -> Examples:
    """Describe every page; `users` holds state and vector as of the snapshot before it.

    Where nobody acts on an item `again`, what a user had and was not shown is not proposed.
    """
    starts = np.flatnonzero(np.diff(exposures.page, prepend=-1))
    bounds = np.append(starts, len(exposures))
    proposed = _proposed(exposures, users, pool, profile.quotas, again=again)
    rows = np.concatenate(list(_pages(exposures, bounds, users, pool, features, proposed)))
    states = [users[str(exposures.users[start])][0] for start in starts]
    weight = np.minimum(1.0 / exposures.propensity, profile.impressions.max_weight)
    return Examples(
        features=rows,
        items=exposures.items + 1,
        labels=exposures.labels,
        weights=weight.astype(np.float32),
        starts=bounds.astype(np.int64),
        moments=exposures.at[starts],
        positions=exposures.position,
        shown=np.ones(len(starts), dtype=np.bool_),
        launched=np.zeros(len(starts), dtype=np.bool_),
        memory=Memory.stack(
            Memory.of(state, at) for state, at in zip(states, exposures.at[starts], strict=True)
        ),
        segments=np.array([segments_of(state) for state in states], dtype=np.str_),
    )


def _proposed(
    exposures: Exposures,
    users: dict[str, tuple[UserState, Float32]],
    pool: Pool,
    quotas: SourceQuotas,
    *,
    again: bool,
) -> dict[str, Candidates]:
    """What the sources propose to each user."""
    names, owner = np.unique(exposures.users.astype(str), return_inverse=True)
    ends = np.cumsum(np.bincount(owner))[:-1]
    shown = np.split(exposures.items[np.argsort(owner, kind="stable")], ends)
    found = {}
    for user, items in zip(names.tolist(), shown, strict=True):
        state, vector = users[user]
        allowed = None if again else pool.without(np.setdiff1d(state.ledger.items, items))
        found[user] = propose(state, vector, pool, quotas, allowed)
    return found


def _pages(
    exposures: Exposures,
    bounds: np.ndarray,
    users: dict[str, tuple[UserState, Float32]],
    pool: Pool,
    features: RankingFeatures,
    proposed: dict[str, Candidates],
) -> Iterator[Float32]:
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        user = str(exposures.users[start])
        state, vector = users[user]
        items = exposures.items[start:end]
        candidates = with_shown(proposed[user], items, state, vector, pool)
        described = features.compute(state, candidates, float(exposures.at[start]))
        place = {item: row for row, item in enumerate(candidates.items.tolist())}
        yield described[[place[item] for item in items.tolist()]]


def with_shown(
    candidates: Candidates, items: Int32, state: UserState, vector: Float32, pool: Pool
) -> Candidates:
    """The candidates, and behind them what was shown without being among them."""
    more = np.setdiff1d(items, candidates.items).astype(np.int32)
    if not len(more):
        return candidates
    places = np.searchsorted(pool.items, more)
    others = Candidates(
        items=more,
        source=np.full(len(more), SOURCE_CODE[FALLBACK], dtype=np.int8),
        retrieval=pool.scores(vector, places),
        neighbour=pool.neighbours.scores(state.ledger)[more],
        factor=pool.factors.scores(state.ledger, more),
    )
    return candidates.then(others)

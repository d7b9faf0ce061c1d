"""Judges releases on what came later: simulated sessions, and the data set's real test.

Every release is asked about the same sessions and the same users, with the features of one moment,
so only the release differs.

Shapes: `N` items of a page, `A` actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.simulator.shoppers import Shoppers
from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.features.item_table import Float32, Int32
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas, top_k
from training.metrics import Floats, ndcg_at
from training.shown import with_shown

_K_PAGE = 10
_K_LIST = 20
Row = Mapping[str, object]


@dataclass(frozen=True)
class LaterSession:
    """A page in random order that was looked at from top to bottom, and what came of it."""

    user: str
    at: float
    items: tuple[str, ...]
    clicked: npt.NDArray[np.bool_]  # [N]
    ordered: npt.NDArray[np.bool_]  # [N]


def later_sessions(
    shoppers: Shoppers, count: int, *, start: float, end: float, size: int = 40
) -> list[LaterSession]:
    """Draw sessions in [start, end) free of any ranking: every item is looked at."""
    seen = shoppers.clicks
    shoppers.clicks = replace(seen, examination=0.0)
    sessions = []
    for visit in shoppers.plan(count, start=start, end=end):
        items = tuple(shoppers.usual_page(visit.user, size))
        reaction = shoppers.react(visit.user, items, np.arange(1, len(items) + 1), visit.at)
        sessions.append(
            LaterSession(
                shoppers.name(visit.user), visit.at, items, reaction.clicked, reaction.ordered
            )
        )
    shoppers.clicks = seen
    return sessions


def user_rows(repo: FeatureRepo, users: Sequence[str], moment: float) -> dict[str, Row]:
    """Features of users as they were known at a moment, by user id."""
    names = sorted(set(users))
    rows = repo.historical(
        f.RANKER_SERVICE,
        f.USER,
        pd.DataFrame(
            {c.USER_ID: names, f.EVENT_TIMESTAMP: pd.Timestamp(moment, unit="s", tz="UTC")}
        ),
    )
    found: list[dict[str, object]] = rows.to_dict("records")  # type: ignore[assignment]
    return {str(row[c.USER_ID]): row for row in found}


class Judge:
    """Asks one release."""

    def __init__(self, bundle: Bundle, quotas: SourceQuotas) -> None:
        self._bundle = bundle
        self._quotas = quotas
        self._pool = bundle.pool()
        self._heads = {str(action): place for place, action in enumerate(bundle.actions)}

    def on_sessions(
        self, sessions: Sequence[LaterSession], rows: Mapping[str, Row]
    ) -> dict[str, Floats]:
        """NDCG@10 of pages put in the order of each head, against what came of them.

        A number a session, none where nothing came of it. A release without a click head orders by
        its target: that is what it would be served by.
        """
        found: dict[str, list[float]] = {"ndcg_click": [], "ndcg_order": []}
        for session in sessions:
            known = self._bundle.items.indices_of(session.items)
            scores = self._page_scores(session, known[known >= 0], rows.get(session.user))
            for head, hits, into in zip(
                (EventType.CLICK, EventType.ORDER),
                (session.clicked, session.ordered),
                found.values(),
                strict=True,
            ):
                relevant = hits[known >= 0]
                order = np.argsort(-scores[:, self._head(head)], kind="stable")
                came = int(relevant.sum())
                into.append(ndcg_at(relevant[order], came, _K_PAGE) if came else np.nan)
        return {name: np.array(values) for name, values in found.items()}

    def on_test(
        self, wanted: Mapping[str, set[str]], rows: Mapping[str, Row], now: float
    ) -> Floats:
        """NDCG@20 of the two-stage list over the catalogue, by each user's real orders."""
        target, values = self._head(EventType.ORDER), []
        ids = self._bundle.items.item_ids
        for user, items in wanted.items():
            state = self._bundle.user_state(user, rows.get(user))
            vector = self._bundle.user_vector(state, now)
            candidates = self._bundle.propose(state, vector, self._pool, self._quotas)
            scores = self._bundle.expect(state, candidates, now)[:, target]
            ranked = ids[candidates.items[top_k(scores, _K_LIST)]]
            hits = np.array([item in items for item in ranked])
            values.append(ndcg_at(hits, len(items), _K_LIST))
        return np.array(values)

    def _page_scores(self, session: LaterSession, items: Int32, row: Row | None) -> Float32:
        bundle = self._bundle
        state = bundle.user_state(session.user, row)
        vector = bundle.user_vector(state, session.at)
        proposed = bundle.propose(state, vector, self._pool, self._quotas)
        candidates = with_shown(proposed, items, state, vector, self._pool)
        place = {item: row for row, item in enumerate(candidates.items.tolist())}
        scores: Float32 = bundle.rank(state, candidates, session.at)
        return scores[[place[item] for item in items.tolist()]]

    def _head(self, wanted: EventType) -> int:
        found = self._heads.get(wanted.value)
        if found is None:
            found = self._heads.get(EventType.ORDER.value, len(self._heads) - 1)
        return found


def real_test(dataset: Dataset, users: int, rng: np.random.Generator) -> dict[str, set[str]]:
    """Items that users ordered in the data set's test, of at most so many users."""
    test = dataset.test_events([c.USER_ID, c.ITEM_ID, c.EVENT_TYPE])
    test = test[test[c.EVENT_TYPE] == dataset.spec.target.value]
    items = test[c.ITEM_ID].astype(str).groupby(test[c.USER_ID].astype(str)).agg(set)
    chosen = rng.choice(len(items), min(users, len(items)), replace=False)
    return {str(items.index[place]): items.iloc[place] for place in sorted(chosen.tolist())}

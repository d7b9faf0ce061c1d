"""A request, from the question to the answer: the whole path, top-down, in `Feed.recommend`.

    understand -> assign experiments -> hydrate user -> propose -> filter -> score -> blend and
    order -> select pages -> answer (-> decision log)

Plain Python and arrays; knows neither Ray nor HTTP. Each step that leans on a model or a store has
a plainer step to fall back to, and the answer says so in `degraded`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qianmian.contracts.api import RecommendRequest
from qianmian.errors import QianmianError
from qianmian.experiments import FeedParams
from qianmian.features.item_table import Float32
from qianmian.retrieval.sources import SOURCES, Candidates
from serving.feed.answer import Answer, Made, build
from serving.feed.filters import BEYOND_LIMIT, UNSCORED, apply, in_pool
from serving.feed.metrics import FeedMetrics
from serving.feed.query import Query, understand
from serving.feed.resident import ResidentRelease, VenuePool, World
from serving.feed.scoring import Ranking, blend, order, popular, unscored, weights_for
from serving.feed.select import select
from serving.feed.tokens import Signer
from serving.feed.trace import Trace
from serving.feed.users import HydratedUser, Proposal, Users

log = logging.getLogger(__name__)


class Feed:
    """Answers requests for venue pages."""

    def __init__(
        self, *, users: Users, signer: Signer, metrics: FeedMetrics, new_id: Callable[[], str]
    ) -> None:
        self._users = users
        self._signer = signer
        self._metrics = metrics
        self._new_id = new_id

    def recommend(self, world: World, venue_id: str, request: RecommendRequest) -> Answer:
        """Return the answer to a request as plain values; see `decide`."""
        return self.decide(world, venue_id, request)[0]

    def decide(self, world: World, venue_id: str, request: RecommendRequest) -> tuple[Answer, Made]:
        """Return the answer to a request as plain values, and what it was made from.

        Raises:
            VenueNotFoundError: no such venue.
            FieldError: a field of the request cannot be used; the error names it.
        """
        try:
            return self._journey(world, venue_id, request)
        except QianmianError:
            raise
        except Exception:
            log.exception("the request path failed; answering with the venue's popular items")
            return self._last_resort(world, venue_id, request)

    def _journey(
        self, world: World, venue_id: str, request: RecommendRequest
    ) -> tuple[Answer, Made]:
        trace = Trace()
        query = understand(world, venue_id, request, self._signer)
        arms = world.experiments.assign(query.user_id, query.visitor_id)
        params = world.experiments.params(arms)
        release = self._release(world, params, trace)
        pool = release.pools[query.venue.id]
        weights = self._weights(release, query, params, trace)
        trace.stage("understand")

        user = self._hydrate(query, release, trace)
        trace.stage("hydrate")

        proposal = self._propose(user, query, params, release, pool, trace)
        trace.removed += proposal.removed
        trace.stage("retrieve")

        ranking = self._rank(user, proposal, query, release, weights, trace)
        trace.stage("rank")

        pages = select(query, ranking, release, pool)
        by_action = dict(zip(map(str, release.bundle.actions), weights.tolist(), strict=True))
        made = Made(query, arms, release, ranking, by_action, pages, proposal.by_source)
        answer = build(made, trace, self._signer, self._new_id())
        trace.stage("answer")

        trace.total()
        answer["timing_ms"] = trace.timing_ms
        removed = sum((page.removed for page in pages), trace.removed)
        self._metrics.answered(trace, removed, arms)
        return answer, made

    def _last_resort(
        self, world: World, venue_id: str, request: RecommendRequest
    ) -> tuple[Answer, Made]:
        """Answer with the venue's popular items: no model, no store, no filter, no experiment."""
        trace = Trace()
        trace.degrade("request_path_failed")
        query = understand(world, venue_id, request, self._signer)
        plain = tuple(replace(b, filter=None, exclude_item_ids=()) for b in query.blocks)
        query = replace(query, blocks=plain, explain=False)
        pool = world.release.pools[query.venue.id]
        candidates = popular(pool, sum(block.page_size for block in plain))
        ranking = order(candidates, unscored(candidates), candidates.retrieval)
        pages = select(query, ranking, world.release, pool)
        made = Made(query, (), world.release, ranking, {}, pages, {})
        answer = build(made, trace, self._signer, self._new_id())
        trace.total()
        answer["timing_ms"] = trace.timing_ms
        self._metrics.answered(trace, trace.removed, ())
        return answer, made

    def _release(self, world: World, params: FeedParams, trace: Trace) -> ResidentRelease:
        release = world.releases.get(params.release)
        if release is None:
            trace.degrade("release_unavailable")
            return world.release
        return release

    def _weights(
        self, release: ResidentRelease, query: Query, params: FeedParams, trace: Trace
    ) -> Float32:
        actions = tuple(map(str, release.bundle.actions))
        weights = weights_for(actions, query.phase.objective, _plain(params))
        if not weights.any():
            trace.degrade("objective_unmatched")
            weights = np.ones(len(actions), dtype=np.float32)
        return weights

    def _hydrate(self, query: Query, release: ResidentRelease, trace: Trace) -> HydratedUser:
        user_id = query.user_id
        if user_id is None:
            return self._users.nobody(release)
        return trace.attempt(
            "user_features_unavailable",
            lambda: self._users.user(user_id, release),
            lambda: self._users.nobody(release),
        )

    def _propose(
        self,
        user: HydratedUser,
        query: Query,
        params: FeedParams,
        release: ResidentRelease,
        pool: VenuePool,
        trace: Trace,
    ) -> Proposal:
        bundle = release.bundle

        def from_sources() -> Proposal:
            vector = bundle.user_vector(user.state, query.now)
            candidates = bundle.propose(user.state, vector, pool.pool, params.sources)
            if not len(candidates):
                return from_popularity()
            return _limited(candidates, params.candidates_ranked, pool)

        def from_popularity() -> Proposal:
            candidates = popular(pool, params.candidates_ranked)
            return _limited(candidates, params.candidates_ranked, pool)

        if not len(pool.pool.items):
            trace.degrade("empty_pool")
            return from_popularity()
        asked = query.venue.id, params.sources, params.candidates_ranked
        return trace.attempt(
            "no_retrieval", lambda: user.proposal(asked, from_sources), from_popularity
        )

    def _rank(
        self,
        user: HydratedUser,
        proposal: Proposal,
        query: Query,
        release: ResidentRelease,
        weights: Float32,
        trace: Trace,
    ) -> Ranking:
        bundle, candidates = release.bundle, proposal.candidates

        def by_ranker() -> Ranking:
            if proposal.probabilities is None:
                proposal.probabilities = bundle.rank(user.state, candidates, query.now)
            probabilities = proposal.probabilities
            return order(candidates, probabilities, blend(probabilities, weights))

        def by_retrieval() -> Ranking:
            return order(candidates, unscored(candidates), candidates.retrieval)

        if not len(candidates):
            return by_retrieval()
        ranking = trace.attempt("no_ranker", by_ranker, by_retrieval)
        if lost := len(candidates) - len(ranking):
            trace.removed[UNSCORED] += lost
            trace.degrade("unscored_candidates")
        return ranking


def _limited(candidates: Candidates, limit: int, pool: VenuePool) -> Proposal:
    """Leave out what the venue may not show and what the ranker has no room for."""
    by_source, removed = _by_source(candidates), Counter[str]()
    kept = apply([in_pool(pool.pool.member)], candidates.items, removed)
    if not kept.all():
        candidates = candidates.take(kept)
    if len(candidates) > limit:
        removed[BEYOND_LIMIT] += len(candidates) - limit
        candidates = candidates.take(np.arange(limit))
    return Proposal(candidates, by_source, removed)


def _by_source(candidates: Candidates) -> dict[str, int]:
    counts = np.bincount(candidates.source, minlength=len(SOURCES)).tolist()
    return {name: count for name, count in zip(SOURCES, counts, strict=True) if count}


def _plain(params: FeedParams) -> dict[str, float]:
    return {str(action): weight for action, weight in params.objective.items()}

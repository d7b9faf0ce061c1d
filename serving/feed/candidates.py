"""From the recipe of a block to its listing: candidates under what it may show, ranked.

    sources (or plain popularity) -> limit -> ranker (or the order of retrieval) -> listing

What was proposed to a user before is taken again as long as most of it may still be shown, and
nothing else may.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from qianmian.experiments import FeedParams
from qianmian.features.user_state import UserState
from qianmian.retrieval.sources import FALLBACK, SOURCES, Candidates
from qianmian.venues.blocks import BlockKind
from serving.feed.eligibility import ELIGIBILITY_UNKNOWN, Eligible
from serving.feed.filters import BEYOND_LIMIT, INELIGIBLE, UNSCORED, Mask, apply, within
from serving.feed.ladder import BEST_SELLERS, NO_RANKER, NO_RETRIEVAL, popular
from serving.feed.listing import Allowed, Listing, Recipe
from serving.feed.query import Query
from serving.feed.resident import ResidentRelease, VenuePool
from serving.feed.scoring import Ranking, Weights, as_proposed, order, unscored
from serving.feed.trace import Trace
from serving.feed.users import HydratedUser, Proposal


@dataclass(frozen=True, slots=True)
class Scene:
    """What the stages of one request share once the shopper is known."""

    query: Query
    params: FeedParams
    release: ResidentRelease
    pool: VenuePool
    user: HydratedUser
    eligible: Eligible
    weights: Weights


def judge_block(
    recipe: Recipe, eligible: Eligible, pool: VenuePool, state: UserState, trace: Trace
) -> Allowed:
    """Return what a block may show; nothing at all if that cannot be told."""
    return trace.attempt(
        ELIGIBILITY_UNKNOWN,
        lambda: recipe.allowed(eligible, pool.shelf, state),
        lambda: Allowed.nothing(eligible),
    )


def propose(scene: Scene, recipe: Recipe, trace: Trace) -> tuple[Allowed, Proposal]:
    """Return candidates of a block, none of them outside what it may show."""
    pool, params, user = scene.pool, scene.params, scene.user
    allowed = judge_block(recipe, scene.eligible, pool, user.state, trace)
    limit = params.candidates_ranked

    def from_sources() -> Proposal:
        bundle = scene.release.bundle
        mask = None if allowed.whole else allowed.mask
        vector = bundle.user_vector(user.state, scene.query.now)
        candidates = bundle.propose(user.state, vector, pool.pool, recipe.quotas, mask)
        if not len(candidates) and recipe.fills:
            return from_popularity()
        return _limited(candidates, limit, allowed)

    def from_popularity() -> Proposal:
        best = recipe.kind is BlockKind.BEST_SELLERS  # for everybody alike
        source = BEST_SELLERS if best else FALLBACK
        tag = None if best else scene.query.venue.fallback.segment
        segment = user.state.tags.get(tag or "")
        candidates, fallback = popular(pool, limit, allowed.mask, segment=segment, source=source)
        proposal = _limited(candidates, limit, allowed)
        proposal.by_popularity, proposal.degraded = True, fallback
        return proposal

    def to_remember() -> Proposal:
        proposal = from_sources()
        proposal.closed = None if allowed.whole else np.packbits(~allowed.mask)
        return proposal

    if not len(pool.pool.items):
        trace.degrade("empty_pool")
        proposal = from_popularity()
    elif recipe.kind is BlockKind.BEST_SELLERS:
        proposal = from_popularity()
    else:
        asked = pool.stamp, recipe, limit, scene.eligible.region
        proposal = trace.attempt(
            NO_RETRIEVAL,
            lambda: user.proposal(asked, to_remember, lambda kept: _holds(kept, allowed)),
            from_popularity,
        )
    if proposal.removed:
        trace.removed += proposal.removed
    if proposal.degraded is not None:
        trace.degrade(proposal.degraded)
    return allowed, proposal


def rank(
    scene: Scene, recipe: Recipe, allowed: Allowed, proposal: Proposal, trace: Trace
) -> Listing:
    """Return the candidates in order; what may not be shown any more is left out."""
    candidates, now = proposal.candidates, scene.query.now
    kept = _kept(candidates, allowed)
    left = candidates if kept is None else candidates.take(kept)

    def by_ranker() -> Ranking:
        if proposal.probabilities is None:
            proposal.probabilities = scene.release.bundle.rank(scene.user.state, candidates, now)
        every = proposal.probabilities
        probabilities = every if kept is None else every[kept]
        score = scene.weights.score(probabilities, left.items, scene.pool.shelf)
        return order(left, probabilities, score)

    def by_retrieval() -> Ranking:
        if proposal.by_popularity:
            return as_proposed(left)
        return order(left, unscored(left), left.retrieval)

    if not len(left) or recipe.kind is BlockKind.BEST_SELLERS:
        ranking = by_retrieval()
    else:
        ranking = trace.attempt(NO_RANKER, by_ranker, by_retrieval)
    if lost := len(left) - len(ranking):
        trace.removed[UNSCORED] += lost
        trace.degrade("unscored_candidates")
    return Listing(ranking, allowed.mask, recipe.fills, proposal.by_source, allowed.removed)


#: What a proposal may lose of its candidates before another one is made.
_TOLERATED: Final = 0.2


def _holds(proposal: Proposal, allowed: Allowed) -> bool:
    """Return whether enough of a proposal may still be shown, and nothing that was closed to it."""
    if allowed.whole:
        return proposal.closed is None
    kept = int(np.count_nonzero(allowed.mask[proposal.candidates.items]))
    if kept < (1 - _TOLERATED) * len(proposal.candidates):
        return False
    return proposal.closed is None or not (np.packbits(allowed.mask) & proposal.closed).any()


def _kept(candidates: Candidates, allowed: Allowed) -> Mask | None:
    """Return which candidates may still be shown, bool [N]; None for all of them."""
    if allowed.whole:
        return None
    kept = allowed.mask[candidates.items]
    return None if kept.all() else kept


def _limited(candidates: Candidates, limit: int, allowed: Allowed) -> Proposal:
    """Leave out what may not be shown and what the ranker has no room for."""
    by_source, removed = _by_source(candidates), Counter[str]()
    kept = apply([within(INELIGIBLE, allowed.mask)], candidates.items, removed)
    if not kept.all():
        candidates = candidates.take(kept)
    if len(candidates) > limit:
        removed[BEYOND_LIMIT] += len(candidates) - limit
        candidates = candidates.take(np.arange(limit))
    return Proposal(candidates, by_source, removed)


def _by_source(candidates: Candidates) -> dict[str, int]:
    counts = np.bincount(candidates.source, minlength=len(SOURCES)).tolist()
    return {name: count for name, count in zip(SOURCES, counts, strict=True) if count}

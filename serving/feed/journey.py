"""A request, from the question to the answer: the whole path, top-down, in `Feed.recommend`.

    understand -> race blocks -> assign experiments -> hydrate user -> judge what may be shown ->
    propose -> score -> blend and order -> sell sponsored places -> select pages -> answer
    (-> decision log)

Plain Python and arrays; knows neither Ray nor HTTP. Each step that leans on a model or a store has
a plainer step to fall back to, and the answer says so in `degraded`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from qianmian.contracts import columns as c
from qianmian.contracts.api import RecommendRequest
from qianmian.experiments import FeedParams
from qianmian.features.user_state import UserState
from qianmian.identity.gate import Ask, plain_asker
from qianmian.identity.untold import struck
from serving.feed.answer import Answer, Made, build
from serving.feed.bought import JustBought
from serving.feed.candidates import Scene, judge_block, propose, rank
from serving.feed.eligibility import ELIGIBILITY_UNKNOWN, Eligible, Shopper
from serving.feed.ladder import popular
from serving.feed.listing import Listing
from serving.feed.market import Market, Reads
from serving.feed.metrics import FeedMetrics
from serving.feed.page import FixedSlots, Page
from serving.feed.query import Query, understand
from serving.feed.racing import Raced, Races, led_by
from serving.feed.resident import ResidentRelease, World
from serving.feed.scoring import Weightings, Weights, as_proposed
from serving.feed.select import first_rows, select
from serving.feed.sponsored import Sales, offers_of
from serving.feed.tokens import Signer
from serving.feed.trace import Trace
from serving.feed.users import HydratedUser, Users

log = logging.getLogger(__name__)


class Feed:
    """Answers requests for venue pages."""

    def __init__(
        self,
        *,
        users: Users,
        signer: Signer,
        metrics: FeedMetrics,
        new_id: Callable[[], str],
        ask: Ask = plain_asker,
        races: Races | None = None,
        market: Market | None = None,
        bought: JustBought | None = None,
        facts_may_be_old: Callable[[], bool] = lambda: False,
    ) -> None:
        """`ask` says whose page it is, `bought` what features do not know yet.

        Without `races` nothing races, without a `market` no place is for sale. `facts_may_be_old`
        says whether stock and prices may have changed unheard.
        """
        self._ask = ask
        self._users = users
        self._signer = signer
        self._metrics = metrics
        self._new_id = new_id
        self._races = races
        self._market = market
        self._bought = JustBought() if bought is None else bought
        self._facts_may_be_old = facts_may_be_old
        self._weightings = Weightings()

    def reads(self, world: World, venue_id: str, request: RecommendRequest) -> Reads | None:
        """Return what a request must have read from stores that may be slow; None for nothing.

        Who answers many requests on one thread has another one do it first.

        Raises:
            FieldError: as `decide`.
        """
        venue, market = world.venues.get(venue_id), self._market
        if market is None or venue is None or not venue.sponsored:
            return None
        members = self._ask(request.user.id, request.user.visitor_id).members
        return market.reads(members, venue_id, world.clock.now())

    def recommend(self, world: World, venue_id: str, request: RecommendRequest) -> Answer:
        """Return the answer to a request as plain values; see `decide`."""
        return self.decide(world, venue_id, request)[0]

    def decide(self, world: World, venue_id: str, request: RecommendRequest) -> tuple[Answer, Made]:
        """Return the answer to a request as plain values, and what it was made from.

        Raises:
            VenueNotFoundError: no such venue.
            FieldError: a field of the request cannot be used; the error names it.
        """
        trace = Trace()
        query = understand(world, venue_id, request, self._signer, self._ask)
        trace.ids = request.user.id, request.user.visitor_id, request.session_id, query.subject_id
        try:
            return self._journey(world, query, trace)
        except Exception as error:  # noqa: BLE001  # whatever it is, a page is due
            log.error(  # noqa: TRY400  # without the ids that a message may repeat
                "the request path failed; answering with the venue's popular items\n%s",
                struck(error, trace.ids),
            )
            return self._last_resort(world, query, trace.anew())

    def _journey(self, world: World, query: Query, trace: Trace) -> tuple[Answer, Made]:
        recommendation_id = self._new_id()
        raced = self._race(query, recommendation_id, trace)
        query = led_by(query, raced)
        arms = world.experiments.assign(query.account_id, query.visitor_id)
        params = world.experiments.params(arms)
        release = self._release(world, params, trace)
        pool = release.pools[query.venue.id]
        weights = self._weights(release, query, params, trace)
        trace.stage("understand")

        user = self._hydrate(query, release, trace)
        trace.stage("hydrate")

        eligible = self._judge(user.state, query, release, trace)
        trace.stage("eligibility")

        scene = Scene(query, params, release, pool, user, eligible, weights)
        recipes = [pool.recipes.of(plan.block, params) for plan in query.blocks]
        proposals = {recipe: propose(scene, recipe, trace) for recipe in recipes}
        trace.stage("retrieve")

        listings = {
            recipe: rank(scene, recipe, allowed, proposal, trace)
            for recipe, (allowed, proposal) in proposals.items()
        }
        trace.stage("rank")

        asked = [listings[recipe] for recipe in recipes]
        with self._selling(scene, asked, recommendation_id, trace) as (fixed, settle):
            pages = trace.attempt(
                "no_rules",
                lambda: select(query, asked, release, pool, eligible, fixed, recommendation_id),
                lambda: first_rows(query, asked, release, pool),
            )
            made = Made(query, arms, release, weights, pages, eligible, raced)
            answer = build(made, trace, self._signer, recommendation_id)
            settle(pages)
        trace.stage("answer")

        trace.total()
        answer["timing_ms"] = trace.timing_ms
        removed = sum((page.removed for page in pages), trace.removed)
        self._metrics.answered(trace, removed, arms)
        self._metrics.relaxed(rule for page in pages for rule in page.relaxed)
        return answer, made

    def _last_resort(self, world: World, query: Query, trace: Trace) -> tuple[Answer, Made]:
        """Answer with the venue's popular items: no model, no store, no filter, no experiment.

        What the shopper may not see is not shown even here.
        """
        trace.degrade("request_path_failed")
        plain = tuple(replace(b, filter=None, exclude_item_ids=()) for b in query.blocks)
        query = replace(query, blocks=plain, explain=False)
        release = world.release
        pool = release.pools[query.venue.id]
        state = self._hydrate(query, release, trace).state
        eligible = self._judge(state, query, release, trace)
        names = tuple(map(str, release.bundle.actions))
        listings = []
        for plan in plain:
            recipe = pool.recipes.of(plan.block, world.experiments.base)
            allowed = judge_block(recipe, eligible, pool, state, trace)
            candidates, fallback = popular(pool, len(pool.of_all.items), allowed.mask)
            if fallback is not None:
                trace.degrade(fallback)
            ranking = as_proposed(candidates)
            listings.append(Listing(ranking, allowed.mask, True, {}, allowed.removed))  # noqa: FBT003
        pages = first_rows(query, listings, release, pool)
        made = Made(query, (), release, Weights.even(names), pages, eligible)
        answer = build(made, trace, self._signer, self._new_id())
        trace.total()
        answer["timing_ms"] = trace.timing_ms
        self._metrics.answered(trace, trace.removed, ())
        return answer, made

    def _race(self, query: Query, recommendation_id: str, trace: Trace) -> list[Raced]:
        """Return how the venue's races come out on this page."""
        races = self._races
        if races is None or not query.venue.racing:
            return []
        return trace.attempt("no_racing", lambda: races.run(query, recommendation_id), list)

    @contextmanager
    def _selling(
        self, scene: Scene, listings: list[Listing], recommendation_id: str, trace: Trace
    ) -> Iterator[tuple[FixedSlots, Callable[[Sequence[Page]], None]]]:
        """Give what stands in the sponsored places, and what to call with the pages of the answer.

        Places stay organic where selling fails. What was sold and not answered is given back.
        """
        query, release, market = scene.query, scene.release, self._market
        if market is None or not query.venue.sponsored:
            yield {}, lambda _: None
            return
        draw = random.Random(recommendation_id).random
        sales = Sales(query, scene.user, release, market, draw)
        try:
            fixed: FixedSlots = trace.attempt(
                "no_sponsored", lambda: sales.sell(offers_of(query, listings, release)), dict
            )
            trace.stage("sell")
            yield fixed, lambda pages: self._metrics.sold(sales.settle(pages), sales.left_out)
        finally:
            sales.settle(())

    def _release(self, world: World, params: FeedParams, trace: Trace) -> ResidentRelease:
        release = world.releases.get(params.release)
        if release is None:
            trace.degrade("release_unavailable")
            return world.release
        return release

    def _weights(
        self, release: ResidentRelease, query: Query, params: FeedParams, trace: Trace
    ) -> Weights:
        actions = release.bundle.actions
        weights = self._weightings.of(actions, query.phase.objective, params)
        if weights is None:
            trace.degrade("objective_unmatched")
            return Weights.even(tuple(map(str, actions)))
        return weights

    def _hydrate(self, query: Query, release: ResidentRelease, trace: Trace) -> HydratedUser:
        subject_id = query.subject_id
        if subject_id is None:
            return self._users.nobody(release)
        return trace.attempt(
            "user_features_unavailable",
            lambda: self._users.user(subject_id, release),
            lambda: self._users.nobody(release),
        )

    def _judge(
        self, state: UserState, query: Query, release: ResidentRelease, trace: Trace
    ) -> Eligible:
        """Return what the shopper may see; nothing at all if that cannot be told."""
        pool = release.pools[query.venue.id]
        if self._facts_may_be_old():
            trace.degrade("facts_may_be_old")
        region = query.region or state.tags.get(c.REGION)

        def judge() -> Eligible:
            pool.shelf.catch_up()
            bought = self._bought.of(query.subject_id, state, release.bundle.items)
            named = None if region is None else str(region)
            return pool.eligibility.of(Shopper(state, named, query.now, bought))

        eligible = trace.attempt(
            ELIGIBILITY_UNKNOWN, judge, lambda: Eligible.nothing(pool.pool.member)
        )
        if not eligible.whole:
            trace.removed += eligible.removed
        return eligible

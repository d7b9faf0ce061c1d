"""Races in the request path: which block leads the page, which creative a block shows.

The states of all races come by the topic `racing`; beliefs and propensities are worked out once for
each state. The draw is seeded by who asks, so the same request gets the same order as long as the
state is the same; a request that names nobody is drawn by its recommendation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from qianmian.events.changes import Change
from qianmian.racing.bandit import Posterior, draw_order, posteriors, propensities
from qianmian.racing.counting import CURSOR_KEY, race_key
from qianmian.racing.schema import RaceFile
from qianmian.racing.state import RaceState
from serving.feed.filters import IN_ANOTHER_BLOCK
from serving.feed.page import Page
from serving.feed.query import Query


@dataclass(frozen=True, slots=True)
class Raced:
    """How one race came out on one page: its arms in order, the first of them leads."""

    race: str
    file: RaceFile
    order: tuple[str, ...]
    propensity: float  # of the first
    version: int

    @property
    def leading(self) -> str:
        """The block that leads, or that shows the creative."""
        return self.file.block or self.order[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it as `contracts.api.RaceOutcome`."""
        return {
            "race": self.race,
            "order": list(self.order),
            "propensity": self.propensity,
            "state_version": self.version,
        }


@dataclass(frozen=True, slots=True)
class _Odds:
    version: int
    file: RaceFile
    beliefs: Sequence[Posterior]
    propensities: Sequence[float]


class Races:
    """The races of a data set as one replica sees them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._states: dict[str, RaceState] = {}
        self._odds: dict[str, _Odds] = {}
        labels = ["venue", "race", "arm"]
        self._share = Gauge(
            "qianmian_race_share", "Share of pages that an arm leads", labels, registry=registry
        )
        self._trials = Gauge(
            "qianmian_race_trials", "Pages that an arm led, faded", labels, registry=registry
        )

    def take(self, changes: Sequence[Change]) -> None:
        """Take in states that changed (a subscriber of the topic `racing`)."""
        for change in changes:
            if change.key == CURSOR_KEY:
                continue
            if change.value is None:
                self._states.pop(change.key, None)
            else:
                self._states[change.key] = RaceState.from_bytes(change.value)

    def run(self, query: Query, recommendation_id: str) -> list[Raced]:
        """Draw every race of the page; only blocks that begin on it take part."""
        beginning = {plan.block_id for plan in query.blocks if not plan.offset}
        outcomes = []
        for name, file in query.venue.racing.items():
            if file.creatives:
                arms = file.creatives if file.block in beginning else ()
            else:
                arms = tuple(block for block in file.blocks if block in beginning)
            if len(arms) == len(file.arms):
                outcomes.append(self._draw(query, name, file, recommendation_id))
        return outcomes

    def _draw(self, query: Query, name: str, file: RaceFile, recommendation_id: str) -> Raced:
        odds = self._odds_of(query.venue.id, name, file)
        seed = _seed(query, name, odds.version, recommendation_id)
        order = draw_order(odds.beliefs, file.floor, random.Random(seed))
        return Raced(
            race=name,
            file=file,
            order=tuple(file.arms[arm] for arm in order),
            propensity=odds.propensities[order[0]],
            version=odds.version,
        )

    def _odds_of(self, venue_id: str, name: str, file: RaceFile) -> _Odds:
        key = race_key(venue_id, name)
        state = self._states.get(key, RaceState())
        odds = self._odds.get(key)
        if odds is None or odds.version != state.version or odds.file != file:
            beliefs = posteriors(state, file.arms, file.goal)
            odds = _Odds(state.version, file, beliefs, propensities(beliefs, file.floor))
            self._odds[key] = odds
            for arm, share in zip(file.arms, odds.propensities, strict=True):
                self._share.labels(venue_id, name, arm).set(share)
                self._trials.labels(venue_id, name, arm).set(state.of(arm).trials)
        return odds


def led_by(query: Query, outcomes: Sequence[Raced]) -> Query:
    """Return the query with its blocks in the order of the races; others keep their places."""
    if not outcomes:
        return query
    blocks = list(query.blocks)
    for raced in outcomes:
        if raced.file.creatives:
            continue
        places = [place for place, plan in enumerate(blocks) if plan.block_id in raced.order]
        by_id = {plan.block_id: plan for plan in blocks}
        for place, block_id in zip(places, raced.order, strict=True):
            blocks[place] = by_id[block_id]
    return replace(query, blocks=tuple(blocks))


def counted(outcomes: Sequence[Raced], pages: Sequence[Page]) -> tuple[tuple[str, str], ...]:
    """Return each race that the events of a page count for, and what led it.

    The first item of the block that leads tells that a page was tried, so without one its rewards
    must not count either. Nor does a page on which another block of the race had nothing to show,
    unless those before it took it all: it counts for no arm, whichever leads.
    """
    shown = {page.plan.block_id for page in pages if page.items}
    had = shown | {page.plan.block_id for page in pages if page.removed[IN_ANOTHER_BLOCK]}
    return tuple(
        (raced.race, raced.order[0])
        for raced in outcomes
        if raced.leading in shown and had.issuperset(raced.file.blocks)
    )


def _seed(query: Query, race: str, version: int, recommendation_id: str) -> int:
    asks = (query.subject_id, query.session_id, query.page_view_id)
    who = asks if any(asks) else (recommendation_id,)
    text = repr((query.venue.id, race, version, *who)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")

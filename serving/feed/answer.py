"""The answer: plain dicts in the shape of `qianmian.contracts.api.RecommendResponse`.

Only the items that are shown are touched one by one; everything before this was arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import numpy as np

from qianmian.experiments import Arm
from qianmian.retrieval.sources import (
    FALLBACK,
    NEIGHBOURS,
    NEW,
    REPEAT,
    SOURCES,
    TRENDING,
    TWO_TOWER,
)
from qianmian.venues import Phase, Venue
from serving.feed.eligibility import Eligible
from serving.feed.query import Query
from serving.feed.resident import ResidentRelease
from serving.feed.scoring import Weights, value_of
from serving.feed.select import Page
from serving.feed.tokens import Attribution, PageToken, Signer
from serving.feed.trace import Trace

Answer = dict[str, Any]

#: Why a shopper sees an item, by what proposed it.
REASONS: Final = {
    REPEAT: "you_chose_it_before",
    NEIGHBOURS: "goes_with_your_choices",
    TWO_TOWER: "fits_your_taste",
    TRENDING: "many_choose_it_now",
    NEW: "just_arrived",
    FALLBACK: "popular_in_this_venue",
}

#: Placement is deterministic, so an item was put where it stands with certainty.
PROPENSITY: Final = 1.0
_ORGANIC: Final = "organic"


@dataclass(frozen=True, slots=True)
class Made:
    """All that an answer is built from."""

    query: Query
    arms: tuple[Arm, ...]
    release: ResidentRelease
    weights: Weights
    pages: list[Page]
    eligible: Eligible


def build(made: Made, trace: Trace, signer: Signer, recommendation_id: str) -> Answer:
    """Return the answer, tokens signed; the caller adds `timing_ms`."""
    query, release = made.query, made.release
    shown = [page.items for page in made.pages]
    hashes = release.item_hashes[np.array([i for items in shown for i in items], dtype=np.int32)]
    origin = _origin(release, made.arms)
    if any(page.plan.origin not in {None, origin} for page in made.pages):
        trace.degrade("page_order_changed")
    attribution = Attribution(
        recommendation_id=recommendation_id,
        venue_id=query.venue.id,
        phase=query.phase.name,
        release=release.id,
        arms=tuple((arm.layer, arm.experiment, arm.name) for arm in made.arms),
        at=query.now,
        page_view_id=query.page_view_id,
        blocks=tuple(
            (page.plan.block_id, page.plan.offset + 1, len(items))
            for page, items in zip(made.pages, shown, strict=True)
        ),
        items=hashes,
        propensities=np.full(len(hashes), PROPENSITY, dtype=np.float32),
    )
    seen = np.union1d(query.shown, hashes) if len(query.shown) else np.sort(hashes)
    return {
        "recommendation_id": recommendation_id,
        "attribution_token": signer.attribution(attribution),
        "venue": venue_info(query.venue, query.phase),
        "experiments": [
            {"layer": arm.layer, "experiment": arm.experiment, "arm": arm.name} for arm in made.arms
        ],
        "release": release.id,
        "degraded": trace.degraded,
        "blocks": [
            {
                "block_id": page.plan.block_id,
                "title": page.plan.title,
                "items": _items(made, page, items),
                "next_page_token": signer.page(
                    PageToken(
                        venue_id=query.venue.id,
                        block_id=page.plan.block_id,
                        offset=page.plan.offset + len(items),
                        origin=origin,
                        shown=seen,
                    )
                )
                if page.more
                else None,
                **(_block_explanation(made, page, trace) if query.explain else {}),
            }
            for page, items in zip(made.pages, shown, strict=True)
        ],
    }


def venue_info(venue: Venue, phase: Phase) -> Answer:
    """Return a venue as `VenueInfo`."""
    return {
        "id": venue.id,
        "name": venue.name,
        "kind": venue.kind,
        "phase": phase.name,
        "starts_at": _iso(venue.starts_at),
        "ends_at": _iso(venue.ends_at),
    }


def _items(made: Made, page: Page, items: list[int]) -> list[Answer]:
    ranking, table = page.listing.ranking, made.release.bundle.items
    details = made.release.pools[made.query.venue.id].details
    position = page.plan.offset
    scores = ranking.score[page.rows].tolist() + [0.0] * len(page.filled)
    codes = ranking.source[page.rows].tolist()
    sources = [SOURCES[code] for code in codes] + [FALLBACK] * len(page.filled)
    answer: list[Answer] = [
        {
            "item_id": table.item_ids[item],
            "position": place,
            "score": score,
            "source": source,
            "slot": _ORGANIC,
            "reason": REASONS[source],
            "propensity": PROPENSITY,
            "item": details[item],
        }
        for place, (item, score, source) in enumerate(
            zip(items, scores, sources, strict=True), start=position + 1
        )
    ]
    if made.query.explain:
        for entry, explanation in zip(answer, _explanations(made, page), strict=True):
            entry["explain"] = explanation
    return answer


def _explanations(made: Made, page: Page) -> list[Answer]:
    ranking = page.listing.ranking
    weights = made.weights.by_name()
    shelf = made.release.pools[made.query.venue.id].shelf
    worth = {str(term): value_of(term, shelf) for term in made.weights.values}
    explained: list[Answer] = [
        {
            "retrieval_score": retrieval,
            "probabilities": dict(zip(made.weights.names, probabilities, strict=False)),
        }
        for retrieval, probabilities in zip(
            ranking.retrieval[page.rows].tolist(),
            ranking.probabilities[page.rows].tolist(),
            strict=True,
        )
    ]
    explained += [{"retrieval_score": None, "probabilities": {}} for _ in page.filled]
    for entry, item in zip(explained, page.items, strict=True):
        entry["weights"] = weights
        entry["values"] = {
            term: None if np.isnan(values[item]) else round(float(values[item]), 4)
            for term, values in worth.items()
        }
    return explained


def _block_explanation(made: Made, page: Page, trace: Trace) -> Answer:
    removed = trace.removed + page.removed
    pool = made.release.pools[made.query.venue.id]
    item_ids = made.release.bundle.items.item_ids
    return {
        "explain": {
            "candidates": dict(page.listing.proposed),
            "removed": dict(removed),
            "examples": {
                reason: item_ids[items].tolist()
                for reason, items in made.eligible.examples(pool.pool.member).items()
            },
        }
    }


def _origin(release: ResidentRelease, arms: tuple[Arm, ...]) -> int:
    """Return what tells whether a later page is ordered by the same release and arms."""
    return crc32("\x1f".join([release.id, *(f"{a.layer}={a.name}" for a in arms)]).encode())


@lru_cache(maxsize=1024)
def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, tz=UTC).isoformat()

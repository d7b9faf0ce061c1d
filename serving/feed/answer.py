"""The answer: plain dicts in the shape of `qianmian.contracts.api.RecommendResponse`.

Only the items that are shown are touched one by one; everything before this was arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from qianmian.experiments import Arm
from qianmian.features.item_table import Float32
from qianmian.retrieval.sources import (
    FACTORS,
    FALLBACK,
    NEIGHBOURS,
    NEW,
    REPEAT,
    SOURCE_CODE,
    SOURCES,
    TRENDING,
    TWO_TOWER,
    UNSEEN,
)
from qianmian.venues import Phase, Venue
from serving.feed.eligibility import Eligible
from serving.feed.page import PINNED, UNRANKED, FixedSlot, Page
from serving.feed.query import Query
from serving.feed.racing import Raced, counted
from serving.feed.resident import ResidentRelease
from serving.feed.scoring import Weights, value_of
from serving.feed.tokens import ORGANIC, SPONSORED, Attribution, PageToken, Signer, Special
from serving.feed.trace import Trace

Answer = dict[str, Any]

#: Why a shopper sees an item, by what proposed it.
REASONS: Final = {
    REPEAT: "you_chose_it_before",
    NEIGHBOURS: "goes_with_your_choices",
    FACTORS: "chosen_by_shoppers_like_you",
    TWO_TOWER: "fits_your_taste",
    TRENDING: "many_choose_it_now",
    NEW: "just_arrived",
    UNSEEN: "nobody_has_it_yet",
    FALLBACK: "popular_in_this_venue",
    PINNED: "chosen_by_this_venue",
    SPONSORED: "paid_for",
}
_FALLBACK: Final = np.int8(SOURCE_CODE[FALLBACK])


@dataclass(frozen=True, slots=True)
class Made:
    """All that an answer is built from."""

    query: Query
    arms: tuple[Arm, ...]
    release: ResidentRelease
    weights: Weights
    pages: list[Page]
    eligible: Eligible
    raced: Sequence[Raced] = ()


def build(made: Made, trace: Trace, signer: Signer, recommendation_id: str) -> Answer:
    """Return the answer, tokens signed; the caller adds `timing_ms`."""
    query, release = made.query, made.release
    shown = [item for page in made.pages for item in page.items]
    hashes = release.item_hashes[np.array(shown, dtype=np.int32)]
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
            (page.plan.block_id, page.plan.offset + 1, len(page.items)) for page in made.pages
        ),
        items=hashes,
        propensities=_propensities(made.pages),
        special=_special(made.pages),
        races=counted(made.raced, made.pages),
    )
    creatives = {raced.file.block: raced.order[0] for raced in made.raced if raced.file.block}
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
        "racing": [raced.to_dict() for raced in made.raced],
        "blocks": [
            {
                "block_id": page.plan.block_id,
                "title": page.plan.title,
                "items": _items(made, page),
                **_creative(creatives.get(page.plan.block_id)),
                "next_page_token": signer.page(
                    PageToken(
                        venue_id=query.venue.id,
                        block_id=page.plan.block_id,
                        offset=page.plan.offset + len(page.items),
                        origin=origin,
                        shown=seen,
                        before=page.before,
                    )
                )
                if page.more
                else None,
                **(_block_explanation(made, page, trace) if query.explain else {}),
            }
            for page in made.pages
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


def _items(made: Made, page: Page) -> list[Answer]:
    ranking, table = page.listing.ranking, made.release.bundle.items
    details = made.release.pools[made.query.venue.id].details
    scores = _of_rows(ranking.score, page.rows, np.float32(0))
    sources = [SOURCES[code] for code in _of_rows(ranking.source, page.rows, _FALLBACK)]
    propensities = page.propensities or [1.0] * len(page.items)
    answer: list[Answer] = [
        {
            "item_id": table.item_ids[item],
            "position": position,
            "score": score,
            "source": source,
            "slot": ORGANIC,
            "reason": REASONS[source],
            "propensity": propensity,
            "item": details[item],
        }
        for position, (item, score, source, propensity) in enumerate(
            zip(page.items, scores, sources, propensities, strict=True), page.plan.offset + 1
        )
    ]
    for place, slot in page.fixed.items():
        answer[place] |= _in_slot(slot, ranked=page.rows[place] != UNRANKED)
    if made.query.explain:
        for entry, explanation in zip(answer, _explanations(made, page), strict=True):
            entry["explain"] = explanation
    return answer


def _of_rows(values: npt.NDArray[Any], rows: list[int], unranked: np.generic) -> list[Any]:
    """Return the values of rows of a ranking, `unranked` for what the ranking does not hold."""
    if UNRANKED in rows:  # the last row
        values = np.append(values, unranked)
    listed: list[Any] = values[rows].tolist()
    return listed


def _in_slot(slot: FixedSlot, *, ranked: bool) -> Answer:
    """Return what is otherwise of an item that stands in a fixed slot."""
    told: Answer = {"slot": slot.kind, "reason": REASONS.get(slot.kind, slot.kind)}
    if not ranked:
        told["source"] = slot.kind
    if slot.label is not None:
        told |= {"label": slot.label, "campaign_id": slot.special.campaign_id}
    return told


def _creative(creative: str | None) -> Answer:
    return {} if creative is None else {"creative": creative}


def _explanations(made: Made, page: Page) -> list[Answer]:
    ranking, names = page.listing.ranking, made.weights.names
    weights = made.weights.by_name()
    shelf = made.release.pools[made.query.venue.id].shelf
    worth = {str(term): value_of(term, shelf) for term in made.weights.values}
    explained: list[Answer] = []
    for place, (item, row) in enumerate(zip(page.items, page.rows, strict=True)):
        ranked = row != UNRANKED
        chances = ranking.probabilities[row].tolist() if ranked else []
        explained.append(
            {
                "retrieval_score": float(ranking.retrieval[row]) if ranked else None,
                "probabilities": dict(zip(names, chances, strict=False)),
                "weights": weights,
                "values": {
                    term: None if np.isnan(values[item]) else round(float(values[item]), 4)
                    for term, values in worth.items()
                },
                "rank": row + 1 if ranked else None,
                "moved_by": list(page.moved_by[place]) if page.moved_by else [],
            }
        )
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
            "relaxed": list(page.relaxed),
            "skipped": [
                {
                    "item_id": item_ids[one.slot.item] if one.slot.item >= 0 else None,
                    "position": one.position,
                    "slot": one.slot.kind,
                    "reason": one.reason,
                }
                for one in page.skipped
            ],
        }
    }


def _propensities(pages: Sequence[Page]) -> Float32:
    """Return the propensity of every item of an answer, in order."""
    count = sum(len(page.items) for page in pages)
    if not any(page.propensities for page in pages):
        return np.ones(count, dtype=np.float32)
    each = (page.propensity(place) for page in pages for place in range(len(page.items)))
    return np.fromiter(each, dtype=np.float32, count=count)


def _special(pages: Sequence[Page]) -> dict[int, Special]:
    """Return what the slots are that are not organic, by row of the answer's items."""
    special: dict[int, Special] = {}
    first = 0
    for page in pages:
        for place, slot in page.fixed.items():
            special[first + place] = slot.special
        first += len(page.items)
    return special


def _origin(release: ResidentRelease, arms: tuple[Arm, ...]) -> int:
    """Return what tells whether a later page is ordered by the same release and arms."""
    return crc32("\x1f".join([release.id, *(f"{a.layer}={a.name}" for a in arms)]).encode())


@lru_cache(maxsize=1024)
def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, tz=UTC).isoformat()

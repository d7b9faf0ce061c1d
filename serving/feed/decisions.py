"""A decision: an answer and what it was made from, on its way to the decision log.

The request path hands over references; what they say is put together by the log's own thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qianmian.decisions.frames import Facts, frame
from qianmian.features.item_table import Float32
from serving.feed.answer import Made
from serving.feed.page import UNRANKED

_UNKNOWN: Final = np.nan


@dataclass(slots=True)
class Decision:
    """An answer, as JSON, and what it was made from."""

    made: Made
    answer: bytes

    def frame(self) -> bytes:
        """Return the decision as it lies in the log."""
        made = self.made
        query, actions = made.query, made.weights.names
        listings = {id(page.listing): page.listing for page in made.pages}.values()
        if not any(listing.ranking.probabilities.shape[1] for listing in listings):
            actions = ()  # no ranker scored
        parts = []
        for page in made.pages:
            scored = page.listing.ranking.probabilities
            if scored.shape[1] and UNRANKED not in page.rows:  # as nearly all pages are
                parts.append(scored.take(page.rows, axis=0).tobytes())
                continue
            parts.append(_some_ranked(scored, page.rows, len(actions)).tobytes())
        facts = Facts(
            decided_at=query.now,
            subject_id=query.subject_id,
            page_view_id=query.page_view_id,
            candidates=sum(len(listing.ranking) for listing in listings),
            actions=actions,
        )
        return frame(facts, b"".join(parts), self.answer)


def _some_ranked(scored: Float32, rows: list[int], actions: int) -> Float32:
    """Chances of a page with items that no ranker scored: theirs are NaN; [shown, actions]."""
    if not len(scored) or not scored.shape[1]:
        return np.full((len(rows), actions), _UNKNOWN, dtype=np.float32)
    places = np.array(rows, dtype=np.intp)
    chances: Float32 = scored.take(places, axis=0, mode="wrap")
    chances[places == UNRANKED] = _UNKNOWN
    return chances

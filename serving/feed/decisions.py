"""A decision: an answer and what it was made from, on its way to the decision log.

The request path hands over references; what they say is put together by the log's own thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qianmian.decisions.frames import Facts, frame
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
            scored, rows = page.listing.ranking.probabilities, np.array(page.rows, dtype=np.intp)
            chances = np.full((len(rows), len(actions)), _UNKNOWN, dtype=np.float32)
            if scored.shape[1]:
                ranked = rows != UNRANKED
                chances[ranked] = scored[rows[ranked]]
            parts.append(chances.tobytes())
        facts = Facts(
            decided_at=query.now,
            subject_id=query.subject_id,
            page_view_id=query.page_view_id,
            candidates=sum(len(listing.ranking) for listing in listings),
            actions=actions,
        )
        return frame(facts, b"".join(parts), self.answer)

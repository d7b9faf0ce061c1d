"""A decision: an answer and what it does not say of itself, on its way to the decision log.

The request path picks out what is needed, for a page's arrays are large: kept until the log's
thread comes to them, they would push the next pages out of the processor's caches.
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
    """What the log keeps of an answer."""

    facts: Facts
    chances: list[bytes]  # of each page
    answer: bytes  # JSON

    @classmethod
    def of(cls, made: Made, answer: bytes) -> Decision:
        """Return the decision that an answer was made from."""
        query, names = made.query, made.weights.names
        rankings = {id(page.listing): page.listing.ranking for page in made.pages}.values()
        actions = names if any(one.probabilities.shape[1] for one in rankings) else ()
        chances: list[bytes] = []
        for page in made.pages:
            scored = page.listing.ranking.probabilities
            if scored.shape[1] and UNRANKED not in page.rows:  # as nearly all pages are
                chances.append(scored.take(page.rows, axis=0).tobytes())
            else:
                chances.append(_some_ranked(scored, page.rows, len(actions)).tobytes())
        candidates = sum(map(len, rankings))
        facts = Facts(query.now, query.subject_id, query.page_view_id, candidates, actions)
        return cls(facts, chances, answer)

    def frame(self) -> bytes:
        """Return the decision as it lies in the log."""
        return frame(self.facts, b"".join(self.chances), self.answer)


def _some_ranked(scored: Float32, rows: list[int], actions: int) -> Float32:
    """Chances of a page with items that no ranker scored: theirs are NaN; [shown, actions]."""
    if not len(scored) or not scored.shape[1]:
        return np.full((len(rows), actions), _UNKNOWN, dtype=np.float32)
    places = np.array(rows, dtype=np.intp)
    chances: Float32 = scored.take(places, axis=0, mode="wrap")
    chances[places == UNRANKED] = _UNKNOWN
    return chances

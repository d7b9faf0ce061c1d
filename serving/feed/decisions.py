"""A decision: an answer and what it was made from, on its way to the decision log.

The request path hands over references; what they say is put together by the log's own thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qianmian.decisions.frames import Facts, frame
from serving.feed.answer import Made

_UNKNOWN: Final = np.nan


@dataclass(slots=True)
class Decision:
    """An answer, as JSON, and what it was made from."""

    made: Made
    answer: bytes

    def frame(self) -> bytes:
        """Return the decision as it lies in the log."""
        made = self.made
        query, scored = made.query, made.ranking.probabilities
        parts = []
        for page in made.pages:
            parts.append(scored.take(page.rows, axis=0).tobytes())
            if page.filled:
                unknown = np.full((len(page.filled), scored.shape[1]), _UNKNOWN, dtype=np.float32)
                parts.append(unknown.tobytes())
        facts = Facts(
            decided_at=query.now,
            subject_id=query.user_id,
            page_view_id=query.page_view_id,
            candidates=len(made.ranking.items),
            actions=tuple(made.weights) if scored.shape[1] else (),
        )
        return frame(facts, b"".join(parts), self.answer)

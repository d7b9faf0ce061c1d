"""Order is by score, then by item index, and never by chance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qianmian.retrieval.sources import Candidates
from serving.feed.scoring import Weights, order, unscored

SCORES = st.sampled_from([0.1, 0.2, 0.3, float("nan"), float("inf"), float("-inf")]) | st.floats(
    0, 1, width=32
)


@given(st.lists(SCORES, max_size=30), st.randoms())
def test_ranking_is_a_total_order_over_finite_scores(scores: list[float], rng) -> None:
    items = list(range(100, 100 + len(scores)))
    rng.shuffle(items)
    candidates = Candidates(
        items=np.array(items, dtype=np.int32),
        source=np.zeros(len(items), dtype=np.int8),
        retrieval=np.zeros(len(items), dtype=np.float32),
        neighbour=np.zeros(len(items), dtype=np.float32),
    )
    score = np.array(scores, dtype=np.float32)
    ranking = order(candidates, unscored(candidates), score)
    expected = sorted(
        ((-s, i) for s, i in zip(score.tolist(), items, strict=True) if np.isfinite(s))
    )
    assert ranking.items.tolist() == [item for _, item in expected]
    assert ranking.score.tolist() == [-negative for negative, _ in expected]


def test_later_objectives_replace_earlier_ones() -> None:
    weights = Weights.of(("click", "order"), {"click": 0.5, "cart": 9.0}, {"click": 0.25})
    assert weights.actions.tolist() == [0.25, 0.0]

"""Order is by score, then by item index, and never by chance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts.events import EventType
from qianmian.experiments import FeedParams
from qianmian.retrieval.sources import Candidates
from serving.feed.scoring import Weightings, Weights, order, unscored

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
        factor=np.zeros(len(items), dtype=np.float32),
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


def test_weightings_are_made_once_for_each_objective_and_arm() -> None:
    made, actions = Weightings(), (EventType.CLICK, EventType.ORDER)
    venue, base = {"click": 0.5}, FeedParams()
    arm = FeedParams(objective={EventType.ORDER: 2.0})
    first = made.of(actions, venue, base)
    assert first is not None
    assert first.by_name() == {"click": 0.5, "order": 0.0}
    assert made.of(actions, venue, base) is first
    other = made.of(actions, venue, arm)
    assert other is not None
    assert other.by_name() == {"click": 0.5, "order": 2.0}
    assert made.of(actions, {"cart": 1.0}, base) is None
    for weight in range(2_000):  # files that change while it runs
        made.of(actions, {"click": float(weight)}, base)
    assert len(made._made) <= 512

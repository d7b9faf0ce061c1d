"""Ranking features by their names: what a candidate carries stands in the column that says so."""

from __future__ import annotations

import numpy as np
import pytest

from qianmian.features.ranking_features import RankingFeatures, feature_names
from qianmian.features.user_state import UserState
from qianmian.retrieval.sources import SOURCES, Candidates
from tests.serving import tiny


def test_what_a_candidate_carries_stands_in_its_own_column() -> None:
    table, size = tiny.item_table(), len(SOURCES)
    vectors = np.random.default_rng(0).normal(size=(tiny.ITEMS, 4)).astype(np.float32)
    user = UserState.read("anna", tiny.USERS["anna"], table, ())
    candidates = Candidates(
        items=np.arange(10, 10 + size, dtype=np.int32),
        source=np.arange(size, dtype=np.int8),
        retrieval=np.linspace(3.0, 4.0, size, dtype=np.float32),
        neighbour=np.linspace(5.0, 6.0, size, dtype=np.float32),
        factor=np.linspace(7.0, 8.0, size, dtype=np.float32),
    )
    rows = RankingFeatures(table, vectors, (), tiny.NOW).compute(user, candidates, tiny.NOW)
    column = {name: rows[:, i] for i, name in enumerate(feature_names(()))}
    assert column["retrieval_score"] == pytest.approx(candidates.retrieval)
    assert column["retrieval_rank"] == pytest.approx(np.log1p(np.arange(size))[::-1])
    assert column["neighbour_score"] == pytest.approx(candidates.neighbour)
    assert column["factor_score"] == pytest.approx(candidates.factor)
    cosines = np.stack([column[f"similarity_{of}"] for of in ("recent_max", "recent_mean")])
    assert (np.abs(cosines) <= 1.0).all()
    assert column["price_to_user_mean"] == pytest.approx(np.log(1.0 + candidates.items / 10))
    for number, name in enumerate(SOURCES):
        assert np.flatnonzero(column[f"source_{name}"]).tolist() == [number]

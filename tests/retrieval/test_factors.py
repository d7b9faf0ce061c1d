"""Item factors: where a user stands among them, against the system of equations written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts import features as f
from qianmian.features.user_state import Ledger
from qianmian.retrieval.factors import CONFIDENCE, Factors
from qianmian.retrieval.neighbours import HALF_LIFE

ITEMS, KNOWN, WIDTH = 200, 120, 16
EVERY = np.arange(ITEMS, dtype=np.int32)
NOW = 1_000.0


def factors(seed: int = 0) -> Factors:
    rng = np.random.default_rng(seed)
    known = np.sort(rng.choice(ITEMS, KNOWN, replace=False)).astype(np.int32)
    vectors = rng.normal(scale=0.3, size=(KNOWN, WIDTH)).astype(np.float32)
    return Factors(known, vectors, regularization=5.0, size=ITEMS)


def ledger(counts: dict[int, float]) -> Ledger:
    size = len(counts)
    decayed = np.zeros((size, len(f.LEDGER_HALF_LIVES_DAYS)), dtype=np.float32)
    decayed[:, HALF_LIFE] = list(counts.values())
    once, times = np.ones(size, dtype=np.float32), np.full(size, NOW)
    visits = np.ones(size, dtype=np.int64)
    items = np.array(list(counts), dtype=np.int32)
    return Ledger(items, once, once, times, times, visits, decayed, NOW)


def by_equations(learned: Factors, counts: dict[int, float]) -> np.ndarray:
    """The scores of all items, in double precision and with every confidence written out."""
    vectors = np.zeros((ITEMS, WIDTH))
    vectors[learned.items] = learned.vectors
    confidence, had = np.ones(ITEMS), np.zeros(ITEMS)
    for item, count in counts.items():
        confidence[item], had[item] = 1.0 + CONFIDENCE * np.log1p(count), 1.0
    matrix = vectors.T @ (confidence[:, None] * vectors) + learned.regularization * np.eye(WIDTH)
    return vectors @ np.linalg.solve(matrix, vectors.T @ (confidence * had))


@given(
    st.dictionaries(
        st.integers(0, ITEMS - 1), st.floats(0.03125, 50.0, width=32), min_size=1, max_size=60
    ),
    st.integers(0, 20),
)
def test_scores_are_those_of_the_equations_written_out(counts, seed: int) -> None:
    learned = factors(seed)
    expected = by_equations(learned, counts)
    spread = max(float(expected.std()), 1e-6)
    assert learned.scores(ledger(counts), EVERY) == pytest.approx(expected, abs=0.01 * spread)


def test_who_has_nothing_of_them_and_items_without_factors_score_0() -> None:
    learned = factors()
    without = np.setdiff1d(np.arange(ITEMS), learned.items)
    assert not learned.scores(ledger({}), EVERY).any()
    assert not learned.scores(ledger({int(without[0]): 3.0}), EVERY).any()
    scores = learned.scores(ledger({int(learned.items[0]): 3.0}), EVERY)
    assert not scores[without].any()
    assert scores[learned.items[0]] == scores.max()


def test_vectors_that_vanished_say_nothing_and_break_nothing() -> None:
    known = np.arange(5, dtype=np.int32)
    for size in (0.0, *np.logspace(-42, -18, 97)):
        vectors = np.full((5, WIDTH), size, dtype=np.float32)
        scores = Factors(known, vectors, 100.0, ITEMS).scores(ledger({0: 3.0, 1: 1.0}), EVERY)
        assert np.abs(scores).max() < 1e-6


def test_no_factors_say_nothing() -> None:
    assert not Factors.none(ITEMS).scores(ledger({3: 1.0}), EVERY).any()


def test_factors_survive_a_file(tmp_path) -> None:
    learned, owned = factors(), ledger({3: 1.0, 17: 2.0, 40: 0.5})
    learned.save(tmp_path / "factors.npz")
    read = Factors.load(tmp_path / "factors.npz")
    assert read.scores(owned, EVERY).tolist() == learned.scores(owned, EVERY).tolist()
    assert read.size == ITEMS

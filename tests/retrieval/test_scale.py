"""Scores against a mean item: what towers add to all of them, or stretch them by, tells nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.retrieval.scale import ScoreScale

ITEMS, WIDTH, USERS = 40, 6, 5


def made(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of users and items, and which items are known."""
    rng = np.random.default_rng(seed)
    users, items = (rng.normal(size=(n, WIDTH)).astype(np.float32) for n in (USERS, ITEMS))
    return users, items, np.arange(ITEMS) < ITEMS // 2


@given(st.integers(0, 99), st.floats(0.2, 5.0), st.floats(-3.0, 3.0))
def test_neither_level_nor_spread_of_the_vectors_matters(
    seed: int, stretch: float, shift: float
) -> None:
    users, items, known = made(seed)
    moved = (stretch * items + shift).astype(np.float32)
    before = ScoreScale.of(items, known).scores(users, items)
    after = ScoreScale.of(moved, known).scores(users, moved)
    assert after == pytest.approx(before, abs=2e-3)


def test_known_items_have_mean_0_and_deviation_1_for_everybody() -> None:
    users, items, known = made(1)
    scores = ScoreScale.of(items, known).scores(users, items)[:, known]
    assert scores.mean(axis=1) == pytest.approx(np.zeros(USERS), abs=1e-5)
    assert scores.std(axis=1) == pytest.approx(np.ones(USERS), abs=1e-4)


def test_the_order_is_that_of_the_products() -> None:
    users, items, known = made(2)
    scores = ScoreScale.of(items, known).scores(users[0], items)
    assert np.argsort(scores).tolist() == np.argsort(items @ users[0]).tolist()


def test_without_a_known_item_products_stay() -> None:
    users, items, known = made(3)
    scores = ScoreScale.of(items, known & False).scores(users, items)
    assert scores == pytest.approx(users @ items.T)


def test_a_user_without_a_taste_gets_no_division_by_nothing() -> None:
    _, items, known = made(4)
    nobody = np.zeros(WIDTH, dtype=np.float32)
    assert ScoreScale.of(items, known).scores(nobody, items).tolist() == [0.0] * ITEMS

"""The quick top-k gives what sorting everything gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.retrieval.sources import top_k


def by_sorting(scores: np.ndarray, k: int) -> list[int]:
    sunk = np.where(np.isnan(scores), -np.inf, scores)
    return sorted(range(len(sunk)), key=lambda i: (-sunk[i], i))[: max(k, 0)]


@given(
    seed=st.integers(0, 1000),
    size=st.integers(0, 2000),
    k=st.integers(-1, 60),
    levels=st.sampled_from([2, 5, 10**6]),
    missing=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_same_as_sorting_everything(
    seed: int, size: int, k: int, levels: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, size).astype(np.float32)
    scores[rng.random(size) < missing] = np.nan
    assert top_k(scores, k).tolist() == by_sorting(scores, k)


@pytest.mark.parametrize("order", ["rising", "falling", "one peak where nothing is sampled"])
def test_same_on_orders_that_a_sample_misleads(order: str) -> None:
    scores = np.arange(4000, dtype=np.float32)
    if order == "falling":
        scores = scores[::-1].copy()
    if order.startswith("one peak"):
        scores[:] = 0.0
        scores[1:1600:8] = 1.0
    assert top_k(scores, 100).tolist() == by_sorting(scores, 100)

"""The order of a sample, told as that of the whole list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import ndcg_at
from training.tuning.judged import K, ndcg_of_sample


@given(seed=st.integers(0, 10_000), size=st.integers(1, 60), share=st.floats(0.01, 1.0))
def test_where_nothing_is_left_out_it_is_the_ndcg(seed: int, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    scores, wanted = rng.permutation(size).astype(np.float32), rng.random(size) < share
    found = ndcg_of_sample(scores, wanted, np.ones(size, np.float32))
    if not wanted.any():
        assert np.isnan(found)
        return
    hits = wanted[np.argsort(-scores)]
    assert found == pytest.approx(ndcg_at(hits, int(wanted.sum()), K))


def test_a_sample_estimates_the_list_that_it_is_of() -> None:
    """A third of the negatives, each for three: near what the whole list has, and not far above."""
    rng, found = np.random.default_rng(4), []
    for _ in range(400):
        wanted = np.arange(300) < 8
        scores = (rng.normal(size=300) + 2.0 * wanted).astype(np.float32)
        kept = wanted | (rng.permutation(300) % 3 == 0)
        stands_for = (~wanted).sum() / (kept & ~wanted).sum()
        weights = np.where(wanted, 1.0, stands_for).astype(np.float32)
        alike = np.ones(300, np.float32)
        found.append(
            (
                ndcg_of_sample(scores, wanted, alike),
                ndcg_of_sample(scores[kept], wanted[kept], weights[kept]),
                ndcg_of_sample(scores[kept], wanted[kept], alike[kept]),
            )
        )
    whole, estimated, counted = np.mean(found, axis=0)
    assert estimated == pytest.approx(whole, rel=0.05)
    assert counted > 1.2 * whole

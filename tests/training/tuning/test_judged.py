"""The order of held-out candidates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qianmian.errors import TrainingError
from tests.training.made_ranker import WIDTH, fit, proposed
from training.metrics import ndcg_at
from training.tuning.judged import K, judged, ndcg


@given(seed=st.integers(0, 10_000), size=st.integers(1, 60), share=st.floats(0.01, 1.0))
def test_it_is_the_ndcg_of_the_list(seed: int, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    scores, wanted = rng.permutation(size).astype(np.float32), rng.random(size) < share
    found = ndcg(scores, wanted)
    if wanted.any():
        hits = wanted[np.argsort(-scores)]
        assert found == pytest.approx(ndcg_at(hits, int(wanted.sum()), K))
    else:
        assert np.isnan(found)


def test_who_says_the_same_of_everything_has_found_nothing() -> None:
    wanted = np.arange(100) < 3
    assert ndcg(np.zeros(100, np.float32), wanted) == 0.0


def test_what_is_no_number_is_refused() -> None:
    examples = proposed(np.random.default_rng(1))
    ranker = fit(examples)
    found = judged(ranker, examples, target=1, repeat=WIDTH - 1)
    assert np.nanmean(found.all) > 0.4
    with torch.no_grad():
        for weights in ranker.parameters():
            weights.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"no number.*ranker\.lr"):
        judged(ranker, examples, target=1, repeat=WIDTH - 1)

"""The compiled greedy against the plain one, over random blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.feed.rerank.arrays import (
    DPP,
    FREE,
    MMR,
    NO_DIVERSITY,
    UNLIMITED,
    Candidates,
    Diversity,
    Quotas,
    Windows,
)
from serving.feed.rerank.greedy import fill
from tests.serving.feed.rerank import reference

ITEMS = 60


def ints(values: object) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@settings(max_examples=250)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 30),
    slots=st.integers(1, 14),
    history=st.integers(0, 8),
    fixed=st.integers(0, 3),
    n_windows=st.integers(0, 3),
    n_quotas=st.integers(0, 3),
    method=st.sampled_from([NO_DIVERSITY, MMR, DPP]),
    strength=st.sampled_from([0.02, 0.3, 0.9]),
    window=st.integers(1, 9),
    width=st.sampled_from([2, 5, 16]),
    across=st.booleans(),
)
def test_the_fast_pick_is_as_good_as_the_plain_one(
    seed: int,
    rows: int,
    slots: int,
    history: int,
    fixed: int,
    n_windows: int,
    n_quotas: int,
    method: int,
    strength: float,
    window: int,
    width: int,
    across: bool,  # noqa: FBT001  hypothesis gives it by name
) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(ITEMS).astype(np.int32)
    relevance = np.sort(rng.random(rows))[::-1].copy()
    weight = {
        NO_DIVERSITY: relevance,
        MMR: (1 - strength) * relevance,
        DPP: np.exp(relevance * (1 - strength) / strength),
    }[method]
    candidates = Candidates(order[:rows], weight)
    sequence = np.full(history + slots, FREE, dtype=np.int32)
    sequence[:history] = order[40 : 40 + history]
    sequence[:history][rng.random(history) < 0.2] = -1  # items that the release does not know
    for place in rng.choice(slots, min(fixed, slots), replace=False):
        sequence[history + place] = order[50 + place % 10] if place < 10 else -1
    since = 0 if across else history
    within = rng.integers(2, 6, n_windows)
    windows = Windows(
        codes=ints(rng.integers(0, 4, (n_windows, ITEMS))),
        at_most=ints([rng.integers(1, w) for w in within]),
        within=ints(within),
        since=ints([since] * n_windows),
        widest=4,
    )
    at_least = rng.integers(0, 4, n_quotas)
    at_most = np.where(rng.random(n_quotas) < 0.5, UNLIMITED, at_least + rng.integers(0, 4))
    quotas = Quotas(
        member=rng.random((n_quotas, rows)) < 0.3,
        at_least=ints(at_least),
        at_most=ints(at_most),
        used=ints(rng.integers(0, 2, n_quotas)),
        later=ints(rng.integers(0, 2, n_quotas)),
        pace=ints([(1, 3) if rng.random() < 0.3 else (0, 0) for _ in range(n_quotas)]).reshape(
            -1, 2
        ),
    )
    vectors = rng.normal(size=(ITEMS, width)).astype(np.float32)
    vectors[order[1]] = vectors[order[0]]  # twins
    vectors[order[2]] = 0
    lengths = np.linalg.norm(vectors, axis=1)
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    diversity = Diversity(method, strength, window, since, vectors, scale)
    before, used = sequence.copy(), quotas.used.copy()
    picks = fill(candidates, windows, quotas, diversity, sequence, history)
    counted = quotas.member[:, picks.rows[picks.rows >= 0]].sum(1) if rows else 0
    assert (quotas.used == used + counted).all()
    quotas.used[:] = used
    reference.check(candidates, relevance, windows, quotas, diversity, before, picks)

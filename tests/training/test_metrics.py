"""Metrics against hand-computed lists, and properties that hold for every list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import bootstrap_interval, ndcg_at, recall_at


def test_recall_is_capped_by_the_length_of_the_list():
    assert recall_at(np.array([True, True, False]), relevant=10, k=2) == 1.0
    assert recall_at(np.array([True, False, False]), relevant=2, k=3) == 0.5


def test_ndcg_of_hits_at_places_one_and_three():
    gained, best = 1 + 1 / np.log2(4), 1 + 1 / np.log2(3)
    hits = np.array([True, False, True, False])
    assert ndcg_at(hits, relevant=2, k=4) == pytest.approx(gained / best)


def test_a_list_shorter_than_k_is_judged_as_it_is():
    assert ndcg_at(np.array([True]), relevant=1, k=20) == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 50), st.integers(0, 40))
def test_metrics_lie_between_zero_and_one(places, k, missed):
    hits = np.array(places)
    relevant = int(hits.sum()) + missed
    if relevant:
        assert 0 <= recall_at(hits, relevant, k) <= 1
        assert 0 <= ndcg_at(hits, relevant, k) <= 1 + 1e-12


@given(st.lists(st.booleans(), min_size=2, max_size=30))
def test_moving_a_hit_up_never_lowers_ndcg(places):
    hits = np.array(places)
    better = np.sort(hits)[::-1]
    relevant = max(int(hits.sum()), 1)
    assert ndcg_at(better, relevant, 20) >= ndcg_at(hits, relevant, 20) - 1e-12


def test_the_interval_holds_the_mean_and_narrows_with_users():
    rng = np.random.default_rng(0)
    few, many = rng.random(30), rng.random(3000)
    low, high = bootstrap_interval(few, np.random.default_rng(1))
    assert low < few.mean() < high
    low_many, high_many = bootstrap_interval(many, np.random.default_rng(1))
    assert high_many - low_many < high - low

"""Metrics against hand-computed lists, and properties that hold for every list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import (
    Resampled,
    average_precision_at,
    ndcg_at,
    recall_at,
    reciprocal_rank_at,
)


def drawn(users):
    return Resampled.draw(users, np.random.default_rng(1))


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
    low, high = drawn(30).interval(few)
    assert low < few.mean() < high
    low_many, high_many = drawn(3000).interval(many)
    assert high_many - low_many < high - low


def test_reciprocal_rank_and_average_precision_of_hits_at_two_and_three():
    hits = np.array([False, True, True, False])
    assert reciprocal_rank_at(hits, k=4) == 0.5
    assert reciprocal_rank_at(hits, k=1) == 0.0
    assert average_precision_at(hits, relevant=3, k=4) == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert average_precision_at(hits, relevant=3, k=2) == pytest.approx((1 / 2) / 2)


def test_metrics_agree_with_an_independent_library():
    """ir-measures computes trec_eval's measures: recall and AP over all relevant, not capped."""
    import ir_measures
    from ir_measures import AP, RR, R, nDCG

    rng, k = np.random.default_rng(3), 20
    qrels, run, ours = [], [], {}
    for query in range(40):
        relevant = int(rng.integers(1, 45))
        hits = rng.random(60) < rng.choice([0.02, 0.2, 0.6])
        hits[np.flatnonzero(hits)[relevant:]] = False
        missed = relevant - int(hits.sum())
        name = f"u{query}"
        for place, hit in enumerate(hits):
            run.append(ir_measures.ScoredDoc(name, f"d{place:02d}", float(100 - place)))
            qrels.append(ir_measures.Qrel(name, f"d{place:02d}", int(hit)))
        qrels += [ir_measures.Qrel(name, f"missed{i}", 1) for i in range(missed)]
        cap = min(k, relevant) / relevant
        ours[name] = {
            nDCG @ k: ndcg_at(hits, relevant, k),
            RR @ k: reciprocal_rank_at(hits, k),
            R @ k: recall_at(hits, relevant, k) * cap,
            AP @ k: average_precision_at(hits, relevant, k) * cap,
        }
    found = list(ir_measures.iter_calc([nDCG @ k, RR @ k, R @ k, AP @ k], qrels, run))
    assert len(found) == 4 * 40
    for metric in found:
        assert ours[metric.query_id][metric.measure] == pytest.approx(metric.value, abs=1e-6)


def test_a_paired_ratio_is_narrower_than_its_parts_and_finds_a_constant_gain():
    rng = np.random.default_rng(2)
    theirs = rng.random(400)
    ratio = drawn(400).ratio(1.1 * theirs, theirs)
    assert ratio.value == pytest.approx(1.1)
    assert ratio.low == pytest.approx(1.1)
    assert ratio.high == pytest.approx(1.1)
    noisy = drawn(400).ratio(theirs + rng.normal(0, 0.3, 400), theirs)
    assert noisy.low < noisy.value < noisy.high


def test_a_ratio_to_nothing_is_infinite():
    assert drawn(3).ratio(np.ones(3), np.zeros(3)).value == np.inf

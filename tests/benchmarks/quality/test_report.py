"""What seeds are joined to: means, and the lead over each baseline with its interval."""

import numpy as np
import pytest

from benchmarks.quality.report import report_of
from benchmarks.quality.seeds import Result
from qianmian.errors import NotFoundError

K = 20


def result(seed: int, lead: float) -> Result:
    theirs = np.random.default_rng(3).random(300)
    noise = np.random.default_rng(seed).normal(0, 0.01, 300)
    noise -= noise.mean()
    ndcg = {
        ("popularity", "all", K): theirs / 2,
        ("frequency", "all", K): theirs,
        ("two_tower", "all", K): theirs * 2,  # a part of ours: no rival
        ("trees", "all", K): theirs * 3,  # the same
        ("two_stage", "all", K): theirs * lead + noise,
    }
    rows = [
        {
            "system": system,
            "slice": label,
            "k": k,
            "ndcg": float(values.mean()),
            "ci_low": 0.0,
            "ci_high": 1.0,
            "users": 300,
            "ratio": None if system == "two_stage" else 1.0,
            "ratio_low": None,
            "ratio_high": None,
        }
        for (system, label, k), values in ndcg.items()
    ]
    return Result(seed, rows, [], {"all": 1.0}, ndcg)


def test_the_best_rival_is_the_best_that_is_no_part_of_ours():
    report = report_of([result(1, 1.1), result(2, 1.2)])
    assert report["ratio_to_each"]["all"]["trees"]["ratio"] == pytest.approx(1.15 / 3, abs=0.01)
    best = report["ratio_to_best"]["all"]
    assert best["baseline"] == "frequency"
    assert best["ratio"] == pytest.approx(1.15, abs=0.01)
    assert 1.05 < best["ci_low"] < best["ratio"] < best["ci_high"] < 1.25


def test_rows_are_means_over_seeds_with_intervals_over_users_and_seeds():
    first, second = result(1, 1.1), result(2, 1.2)
    report = report_of([first, second])
    row = next(row for row in report["rows"] if row["system"] == "two_stage")
    means = [r.ndcg["two_stage", "all", K].mean() for r in (first, second)]
    assert row["ndcg"] == pytest.approx(np.mean(means))
    assert row["ci_low"] < row["ndcg"] < row["ci_high"]
    assert row["users"] == 300
    assert report["seeds"] == [1, 2]
    assert len(report["by_seed"]) == 2


def test_a_lead_that_is_none_has_an_interval_around_one():
    each = report_of([result(1, 1.0)])["ratio_to_each"]["all"]
    assert each["frequency"]["ci_low"] < 1.0 < each["frequency"]["ci_high"]
    assert each["popularity"]["ci_low"] > 1.9


def test_an_unknown_case_is_told_with_those_that_exist():
    from benchmarks.quality.cases import case_of

    with pytest.raises(NotFoundError, match="campaign-13"):
        case_of("campaign-14")


def test_strangers_are_told_apart_where_there_are_many():
    def with_strangers(users: int) -> Result:
        found = result(1, 1.2)
        ours, theirs = (found.ndcg[system, "all", K] for system in ("two_stage", "frequency"))
        for label, part in (("cold_user", slice(users)), ("known_user", slice(users, None))):
            found.ndcg["two_stage", label, K] = ours[part]
            found.ndcg["frequency", label, K] = theirs[part]
        return found

    few, many = (report_of([with_strangers(users)])["ratio_to_best"] for users in (5, 60))
    assert [*few] == ["all"]
    assert [*many] == ["all", "known_user", "cold_user"]
    assert many["cold_user"]["baseline"] == "frequency"


def test_cold_items_are_told_where_many_users_took_some():
    found = result(1, 1.2)
    for system in ("two_stage", "frequency"):
        found.ndcg[system, "cold_item", K] = found.ndcg[system, "all", K][:40]
    assert [*report_of([found])["ratio_to_best"]] == ["all", "cold_item"]


def test_a_ratio_to_nothing_is_none_and_so_is_an_end_of_its_interval():
    found = result(1, 1.2)
    nothing = np.zeros(300)
    found.ndcg["popularity", "all", K] = nothing
    each = report_of([found])["ratio_to_each"]["all"]["popularity"]
    assert (each["ratio"], each["ci_low"], each["ci_high"]) == (None, None, None)
    seldom = nothing.copy()
    seldom[0] = 1.0
    found.ndcg["popularity", "all", K] = seldom
    each = report_of([found])["ratio_to_each"]["all"]["popularity"]
    assert each["ratio"] > 1
    assert each["ci_low"] > 1
    assert each["ci_high"] is None, "a draw without that user has no ratio"
    assert np.isfinite([v for v in each.values() if v is not None]).all()

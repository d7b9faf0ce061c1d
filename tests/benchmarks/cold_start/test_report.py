"""Seeds with users of their own are joined to means, with intervals over users and seeds."""

import numpy as np
import pytest

from benchmarks.cold_start.report import joined
from benchmarks.remembered import Found


def judged(users: list[str], ours: list[float], theirs: list[float], places: float = 0.0) -> Found:
    systems = {"popularity": theirs, "two_stage": ours}
    rows = [
        {"system": name, "slice": "all", "k": 20, "recall": places, "users": len(users)}
        for name in systems
    ]
    arrays = {"who": np.array(users), **{name: np.array(of) for name, of in systems.items()}}
    return Found(
        {
            "users": rows,
            "items": rows,
            "among_all": {"two_stage": {"places": places, "hits": 0.0}},
            "held_out": {"users": len(users), "items": 3},
        },
        {f"{part}|{name}": a for part in ("users", "items") for name, a in arrays.items()},
    )


def test_numbers_are_means_over_the_seeds_and_each_seeds_ndcg_is_told() -> None:
    first = judged(["a", "b"], [0.2, 0.4], [0.1, 0.2], places=0.1)
    second = judged(["b", "c", "d", "e"], [0.6, 0.4, 0.6, 0.4], [0.5, 0.5, 0.5, 0.5], places=0.2)
    report = joined([first, second])
    popular, ours = report["users"]
    assert ours["ndcg_by_seed"] == pytest.approx([0.3, 0.5])
    assert ours["ndcg"] == pytest.approx(0.4)  # of seeds alike, whoever had more users
    assert popular["ratio"] == pytest.approx(0.4 / 0.325)
    assert "ratio" not in ours
    assert (ours["users"], ours["recall"]) == (3, pytest.approx(0.15))
    assert report["items"] == report["users"]
    assert report["among_all"]["two_stage"]["places"] == pytest.approx(0.15)
    assert report["held_out"] == {"users": 3, "items": 3}


def test_an_interval_of_one_seed_is_of_its_users_and_seeds_that_differ_widen_it() -> None:
    rng = np.random.default_rng(0)
    users = [str(i) for i in range(400)]
    low, high = rng.normal(0.2, 0.1, 400), rng.normal(0.4, 0.1, 400)
    one = joined([judged(users, low, high)])["users"][1]
    assert (one["ci_low"], one["ci_high"]) == pytest.approx(
        (low.mean() - 1.96 * 0.1 / 20, low.mean() + 1.96 * 0.1 / 20), abs=0.002
    )
    both = joined([judged(users, low, high), judged(users, high, low)])["users"][1]
    assert both["ci_low"] < 0.22
    assert both["ci_high"] > 0.38


def test_users_are_drawn_for_both_systems_and_all_seeds_at_once() -> None:
    rng = np.random.default_rng(1)
    users, theirs = [str(i) for i in range(50)], rng.random(50)
    alike = judged(users, 1.5 * theirs, theirs)
    popular = joined([alike, alike])["users"][0]
    bounds = popular["ratio_low"], popular["ratio"], popular["ratio_high"]
    assert bounds == pytest.approx((1.5, 1.5, 1.5))
    twice = joined([judged(users, theirs, theirs)] * 2)["users"][0]
    once = joined([judged(users, theirs, theirs)])["users"][0]
    assert twice["ci_high"] - twice["ci_low"] == pytest.approx(
        once["ci_high"] - once["ci_low"], rel=0.1
    )  # the same users again tell nothing more


def test_a_rival_without_a_hit_has_no_ratio() -> None:
    popular, ours = joined([judged(["a", "b"], [0.2, 0.4], [0.0, 0.0])])["items"]
    assert popular["ndcg"] == 0.0
    assert not {"ratio", "ratio_low", "ratio_high"} & popular.keys()
    assert ours["ndcg"] == pytest.approx(0.3)

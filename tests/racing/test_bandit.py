from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from qianmian.racing.bandit import draw_order, posteriors, propensities
from qianmian.racing.schema import Goal
from qianmian.racing.state import ArmSums, RaceState

ARMS = ("a", "b", "c")


def state(**sums: tuple[float, float]) -> RaceState:
    """Trials and clicks of each arm."""
    return RaceState(1, 0.0, {arm: ArmSums(trials=n, click=k) for arm, (n, k) in sums.items()})


def led(beliefs, floor, draws=20_000):
    rng = random.Random(5)
    firsts = [draw_order(beliefs, floor, rng)[0] for _ in range(draws)]
    return [firsts.count(arm) / draws for arm in range(len(beliefs))]


def test_of_nothing_known_all_lead_alike() -> None:
    assert propensities(posteriors(RaceState(), ARMS, Goal.CLICK), 0.1) == pytest.approx(
        [1 / 3] * 3
    )
    assert propensities(posteriors(RaceState(), ARMS, Goal.VALUE), 0.1) == pytest.approx(
        [1 / 3] * 3
    )


@pytest.mark.parametrize(
    "sums",
    [
        {"a": (10, 1), "b": (10, 2), "c": (10, 4)},
        {"a": (1000, 50), "b": (1200, 66), "c": (3, 0)},
        {"a": (1e6, 20_000), "b": (1e6, 20_100), "c": (5e5, 10_020)},
        {"a": (0.01, 0.001), "b": (2e5, 11), "c": (40, 0)},
        {"a": (100, 900), "b": (100, 905), "c": (1, 30)},
    ],
)
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_propensities_are_the_shares_that_draws_give(sums, floor) -> None:
    beliefs = posteriors(state(**sums), ARMS, Goal.CLICK)
    exact = propensities(beliefs, floor)
    assert sum(exact) == pytest.approx(1.0)
    assert exact == pytest.approx(led(beliefs, floor), abs=0.012)  # 3 deviations of 20,000 draws


def test_propensities_for_values_are_the_shares_that_draws_give() -> None:
    sums = {
        "a": ArmSums(trials=200, order=10, value=300, squares=12_000),
        "b": ArmSums(trials=180, order=8, value=380, squares=30_000),
        "c": ArmSums(trials=10),
    }
    beliefs = posteriors(RaceState(1, 0.0, sums), ARMS, Goal.VALUE)
    assert propensities(beliefs, 0.05) == pytest.approx(led(beliefs, 0.05), abs=0.012)


@pytest.mark.parametrize(
    "sums",
    [
        {"a": (3000, 30), "b": (150, 0)},
        {"a": (3000, 30), "b": (40, 1)},
        {"a": (1000, 10), "b": (1000, 16), "c": (300, 2)},
        {"a": (1, 1), "b": (0, 0)},
    ],
)
def test_orders_that_are_worth_the_same_race_by_value_as_by_number(sums) -> None:
    arms = tuple(sums)
    known = {
        arm: ArmSums(trials=n, order=k, value=50 * k, squares=2500 * k)
        for arm, (n, k) in sums.items()
    }
    by_value, by_number = (
        propensities(posteriors(RaceState(1, 0.0, known), arms, goal), 0.0)
        for goal in (Goal.VALUE, Goal.ORDER)
    )
    assert by_value == pytest.approx(by_number, abs=0.1)


def test_before_the_first_order_all_lead_alike_by_value() -> None:
    known = RaceState(1, 0.0, {"a": ArmSums(trials=900), "b": ArmSums(trials=3, click=1)})
    assert propensities(posteriors(known, ARMS, Goal.VALUE), 0.0) == pytest.approx([1 / 3] * 3)
    worthless = known.with_arm("a", ArmSums(trials=900, order=2))
    assert propensities(posteriors(worthless, ARMS, Goal.VALUE), 0.0) == pytest.approx([1 / 3] * 3)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=5),
    st.floats(0, 0.2),
)
def test_every_arm_has_its_floor(rows, floor) -> None:
    arms = [f"arm{n}" for n in range(len(rows))]
    known = state(**dict(zip(arms, rows, strict=True)))
    shares = propensities(posteriors(known, arms, Goal.CLICK), floor)
    assert sum(shares) == pytest.approx(1.0)
    assert all(share >= floor - 1e-12 for share in shares)


def test_an_order_holds_every_arm_once_and_repeats_for_a_seed() -> None:
    beliefs = posteriors(state(a=(10, 1), b=(10, 5)), ARMS, Goal.CLICK)
    one, two = (draw_order(beliefs, 0.1, random.Random(9)) for _ in range(2))
    assert one == two
    assert sorted(one) == [0, 1, 2]


def race(rates, *, pages: int, floor: float, seed: int) -> tuple[float, dict[str, int]]:
    """Clicks lost against always leading with the best arm, and how often each arm led."""
    rng, known, lost = random.Random(seed), RaceState(), 0.0
    led: dict[str, int] = dict.fromkeys(rates, 0)
    arms = tuple(rates)
    for page in range(pages):
        if page % 20 == 0:  # the state is published now and then
            beliefs = posteriors(known, arms, Goal.CLICK)
        arm = arms[draw_order(beliefs, floor, rng)[0]]
        led[arm] += 1
        sums = known.of(arm).tried()
        if rng.random() < rates[arm]:
            sums = sums.rewarded("click", 0.0)
        known = known.with_arm(arm, sums)
        lost += max(rates.values()) - rates[arm]
    return lost, led


def test_a_race_loses_far_less_than_turns_in_rotation() -> None:
    rates = {"a": 0.08, "b": 0.05, "c": 0.03}
    results = [race(rates, pages=8_000, floor=0.05, seed=seed) for seed in range(3)]
    rotation = 8_000 * (0.08 - (0.08 + 0.05 + 0.03) / 3)
    for lost, led in results:
        assert lost < 0.4 * rotation
        assert led["a"] > 0.7 * 8_000
        assert min(led.values()) >= 0.03 * 8_000  # the floor of one in twenty, by chance a bit less

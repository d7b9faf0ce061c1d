from __future__ import annotations

import math
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from qianmian.campaigns.pacing import OPENING, Pace, PaceController, SpendPlan

DAY = 86_400.0


def test_an_even_plan_is_straight() -> None:
    plan = SpendPlan(starts_at=100.0, ends_at=300.0)
    assert [plan.share(at) for at in (0.0, 100.0, 150.0, 300.0, 999.0)] == [0, 0, 0.25, 1, 1]


def test_a_traffic_plan_follows_the_hours() -> None:
    hours = [1.0] * 12 + [3.0] * 12
    plan = SpendPlan(starts_at=0.0, ends_at=DAY, hours=hours)
    assert plan.share(DAY / 2) == pytest.approx(0.25)
    assert plan.share(DAY * 3 / 4) == pytest.approx(0.625)
    half_past = SpendPlan(starts_at=1_800.0, ends_at=5_400.0, hours=[1.0, 3.0] + [0.0] * 22)
    assert half_past.share(3_600.0) == pytest.approx(0.25)


@given(
    st.floats(0, 1e6),
    st.floats(1, 1e6),
    st.lists(st.floats(0, 10), min_size=24, max_size=24),
    st.lists(st.floats(-1e5, 3e6), min_size=2, max_size=9),
)
def test_a_plan_never_falls_and_ends_at_one(starts_at, lasts, hours, moments) -> None:
    plan = SpendPlan(starts_at=starts_at, ends_at=starts_at + lasts, hours=hours)
    shares = [plan.share(at) for at in sorted(moments)]
    assert shares == sorted(shares)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert plan.share(starts_at + lasts) == 1.0


def test_a_state_survives_as_bytes() -> None:
    pace = Pace(0.25, 12.5, 1_000, 99.5)
    assert Pace.from_bytes(pace.to_bytes()) == pace


def test_nothing_moves_within_a_moment() -> None:
    plan = SpendPlan(starts_at=0.0, ends_at=DAY)
    pace = Pace(0.5, 10.0, 1_000, 600.0)
    kept = PaceController().step(pace, plan=plan, budget=10**9, committed=1_000, now=600.0)
    assert kept.participation == 0.5


def test_a_campaign_known_long_before_begins_its_flight_as_one_of_which_nothing_is_known() -> None:
    plan, control, pace = SpendPlan(starts_at=DAY, ends_at=2 * DAY), PaceController(), Pace()
    for now in range(int(DAY) - 3_600, int(DAY), 5):
        pace = control.step(pace, plan=plan, budget=10**9, committed=0, now=float(now))
    assert pace.participation == OPENING
    begun = control.step(pace, plan=plan, budget=10**9, committed=0, now=DAY)
    assert begun.participation <= OPENING * control.rise


def test_nobody_enters_after_the_flight_or_beyond_the_budget() -> None:
    plan, control = SpendPlan(starts_at=0.0, ends_at=DAY), PaceController()
    pace = Pace(0.5, 10.0, 1_000, 600.0)
    over = control.step(pace, plan=plan, budget=10**9, committed=10**9, now=700.0)
    ended = control.step(pace, plan=plan, budget=10**9, committed=2_000, now=DAY + 1)
    assert (over.participation, ended.participation) == (0.0, 0.0)


@pytest.mark.parametrize("seconds", [5.0, 60.0])
@pytest.mark.parametrize("richness", [4.0, 20.0, 500.0])
def test_spending_follows_the_plan_through_a_day_of_changing_traffic(seconds, richness) -> None:
    """Traffic could spend `richness` times the budget; its rate swings by four, and is noisy."""
    budget, rng, control = 1_000_000_000, random.Random(3), PaceController()
    plan = SpendPlan(starts_at=0.0, ends_at=DAY)
    pace, spent, now, worst = Pace(), 0, 0.0, 0.0
    while now < DAY:
        swing = 1.0 + 0.6 * math.sin(2 * math.pi * now / DAY)
        rate = richness * budget / DAY * swing * rng.uniform(0.7, 1.3)
        spent = min(spent + round(rate * pace.participation * seconds), budget)
        now += seconds
        pace = control.step(pace, plan=plan, budget=budget, committed=spent, now=now)
        if now > 3_600:
            worst = max(worst, abs(spent / budget - plan.share(now)))
    assert worst < 0.02
    assert spent > 0.99 * budget


def test_who_is_short_of_traffic_always_takes_part() -> None:
    control, plan = PaceController(), SpendPlan(starts_at=0.0, ends_at=DAY)
    pace, spent, now = Pace(), 0, 0.0
    while now < DAY / 2:
        spent += round(0.5 * 1_000_000 / DAY * pace.participation * 60)
        now += 60
        pace = control.step(pace, plan=plan, budget=1_000_000, committed=spent, now=now)
    assert pace.participation == 1.0

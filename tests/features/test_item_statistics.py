import math

import pytest

from qianmian.contracts import features as f
from qianmian.features.item_statistics import item_statistics
from tests.features.small import at, event, log


def statistics(*rows, as_of):
    return {row["item_id"]: row for row in item_statistics(log(*rows), at(as_of)).to_pylist()}


def test_popularity_and_repeat_purchase():
    rows = [
        event("u", "a", 0, order_id="1"),
        event("u", "a", 10, order_id="2"),
        event("u", "a", 40, order_id="3"),
        event("v", "a", 95, order_id="4"),
        event("v", "a", 99, order_id="5"),
        event("w", "a", 96, order_id="6"),
        event("w", "a", 96, order_id="6"),
        event("w", "a", 99.5, "click"),
    ]
    row = statistics(*rows, as_of=100)["a"]
    assert row[f.target_count(7)] == 4
    assert row[f.target_count(91)] == 6
    assert row[f.TARGET_COUNT_TOTAL] == 7
    assert row[f.target_users(7)] == row[f.target_users(28)] == 2
    assert row[f.target_users(91)] == row[f.TARGET_USERS_TOTAL] == 3
    assert row[f.REPEAT_RATE] == pytest.approx(2 / 3)
    assert row[f.REPEAT_INTERVAL_DAYS] == 10.0  # of 10, 30 and 4
    assert row[f.FIRST_SEEN_AT] == at(0)
    assert row[f.LAST_SEEN_AT] == at(99.5)
    assert row[f.TREND] == pytest.approx(math.log(5 / 7) - math.log(8 / 28), rel=1e-6)


def test_prices_are_medians_of_28_days():
    old = event("u", "a", 0, quantity=1.0, value=100.0, list_value=100.0)
    new = [
        event("u", "a", 90 + n, quantity=2.0, value=2.0 * price, list_value=20.0)
        for n, price in enumerate((5, 8, 9))
    ]
    row = statistics(old, *new, as_of=100)["a"]
    assert row[f.PAID_PRICE] == 8.0
    assert row[f.BASE_PRICE] == 10.0
    assert row[f.DISCOUNT] == pytest.approx(1 - 44 / 60)


def test_prices_fall_back_on_all_history():
    row = statistics(event("u", "a", 0, value=3.0, list_value=4.0), as_of=100)["a"]
    assert (row[f.PAID_PRICE], row[f.BASE_PRICE]) == (3.0, 4.0)
    assert row[f.DISCOUNT] == 0.0


def test_without_money_prices_are_zero():
    row = statistics(event("u", "a", 0), as_of=1)["a"]
    assert row[f.PAID_PRICE] == row[f.BASE_PRICE] == row[f.DISCOUNT] == 0.0


def test_an_item_that_was_only_shown():
    row = statistics(event("u", "a", 0, "impression"), as_of=1)["a"]
    assert row[f.IMPRESSION_COUNT] == 1
    assert row[f.TARGET_COUNT_TOTAL] == row[f.REPEAT_RATE] == 0
    assert row[f.FIRST_SEEN_AT] == row[f.LAST_SEEN_AT] == at(0)


def test_the_moment_itself_does_not_count():
    assert statistics(event("u", "a", 1), as_of=1) == {}

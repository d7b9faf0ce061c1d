import pytest

from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.features.user_activity import user_activity
from tests.features.small import at, event, log


def activity(*rows, as_of, **options):
    table = user_activity(log(*rows, **options), at(as_of))
    return {row["user_id"]: row for row in table.to_pylist()}


def test_counts_spend_and_visits_by_window():
    rows = [
        event("u", "a", 0, order_id="o1", quantity=2.0, value=6.0, list_value=8.0),
        event("u", "b", 0, order_id="o1", quantity=1.0, value=1.0, list_value=1.0),
        event("u", "a", 80, order_id="o2", quantity=1.0, value=4.0, list_value=4.0),
        event("u", "a", 95, order_id="o3", quantity=1.0, value=2.0, list_value=4.0),
        event("u", "c", 95, "click", order_id=None),
        event("u", "d", 96, "impression"),
    ]
    row = activity(*rows, as_of=100)["u"]
    assert row[f.target_count(7)] == 1
    assert row[f.target_count(28)] == 2
    assert row[f.target_count(91)] == 2
    assert row[f.TARGET_COUNT_TOTAL] == 4
    assert row[f.spend(7)] == 2.0
    assert row[f.spend(91)] == 6.0
    assert row[f.session_count(7)] == 2  # the order, and the day of the click
    assert row[f.session_count(91)] == 3
    assert row[f.DISTINCT_ITEMS] == 2
    assert row[f.REPEAT_SHARE] == pytest.approx(0.5)
    assert row[f.MEAN_PRICE] == pytest.approx((3 + 1 + 4 + 2) / 4)
    assert row[f.DISCOUNT_SHARE] == pytest.approx(1 - 6 / 8)
    assert row[f.SESSION_GAP_DAYS] == pytest.approx(95 / 2)
    assert row[f.FIRST_ACTION_AT] == at(0)
    assert row[f.LAST_ACTION_AT] == row[f.LAST_TARGET_AT] == at(95)


def test_coupons_are_counted_for_91_days():
    rows = [event("u", "a", days, "coupon") for days in (0, 5, 50)]
    assert activity(*rows, as_of=92)["u"][f.COUPON_COUNT] == 2


def test_without_money_the_fields_of_money_are_zero():
    row = activity(event("u", "a", 0), event("u", "b", 1), as_of=2)["u"]
    for name in (f.spend(7), f.MEAN_PRICE, f.DISCOUNT_SHARE):
        assert row[name] == 0.0


def test_a_user_who_never_did_the_target_action_is_there():
    row = activity(event("u", "a", 0, "click"), as_of=1)["u"]
    assert row[f.LAST_TARGET_AT] == 0.0
    assert row[f.TARGET_COUNT_TOTAL] == row[f.DISTINCT_ITEMS] == row[f.REPEAT_SHARE] == 0.0


def test_an_impression_is_no_action():
    assert activity(event("u", "a", 0, "impression"), as_of=1) == {}


def test_the_moment_itself_does_not_count():
    rows = [event("u", "a", 0), event("u", "a", 1)]
    assert activity(*rows, as_of=1)["u"][f.TARGET_COUNT_TOTAL] == 1
    assert activity(*rows, as_of=0) == {}


def test_another_target():
    rows = [event("u", "a", 0, "click"), event("u", "b", 1, "click"), event("u", "b", 1)]
    row = activity(*rows, as_of=2, target=EventType.CLICK)["u"]
    assert row[f.TARGET_COUNT_TOTAL] == row[f.DISTINCT_ITEMS] == 2

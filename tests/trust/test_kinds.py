import pytest

from qianmian.trust.flags import find_flags
from qianmian.trust.rules import TrustRules
from tests.trust.traffic import seen, visit

RULES = TrustRules()


def reasons(events):
    """Reasons by event id."""
    found = {}
    for flag in find_flags(events, RULES):
        found.setdefault(flag.event_id, set()).add(flag.reason)
    return found


def test_nothing_is_found_in_nothing():
    assert find_flags([], RULES) == []


def test_shoppers_as_they_are_stay_trusted():
    events = [e for n in range(30) for e in visit(f"u{n % 6}", 900 * n, device=f"d{n % 6}")]
    assert reasons(events) == {}


def test_more_clicks_than_impressions_explain():
    robot = [seen("impression", n, "robot", item=f"i{n}", page="r") for n in range(30)]
    robot += [seen("click", 60 + 30 * n, "robot", item=f"i{n}", page="r") for n in range(25)]
    later = visit("robot", 100_000)
    found = reasons([*robot, *later, *visit("u1", 0)])
    assert found == {e.event_id: {"click_rate"} for e in robot}


def test_clicks_may_come_long_after_their_page():
    page = [seen("impression", 0, "u1", item=f"i{n}", page="r") for n in range(100)]
    clicks = [seen("click", 3500 + 20 * n, "u1", item=f"i{n}", page="r") for n in range(25)]
    assert reasons([*page, *clicks]) == {}


def test_clicks_outside_pages_are_not_measured_against_impressions():
    events = [seen("click", 30 * n, "u1", item=f"i{n}") for n in range(60)]
    assert reasons(events) == {}


def test_more_actions_than_hands_can_do():
    storm = [seen("cart", 0.2 * n, "u1", item=f"i{n}") for n in range(25)]
    calm = [seen("cart", 1000 + 2 * n, "u1", item=f"i{n}") for n in range(25)]
    assert reasons([*storm, *calm]) == {e.event_id: {"burst"} for e in storm}


def test_one_basket_of_many_lines_is_no_burst():
    basket = [seen("order", 0, "u1", item=f"i{n}", order="basket") for n in range(80)]
    assert reasons(basket) == {}
    baskets = [seen("order", 0, "u1", item=f"i{n}", order=f"o{n}") for n in range(80)]
    assert {frozenset(r) for r in reasons(baskets).values()} == {frozenset({"burst"})}


def test_one_device_with_many_accounts():
    farm = [e for n in range(6) for e in visit(f"f{n}", 500 * n, device="farm")]
    family = [e for n in range(5) for e in visit(f"h{n}", 500 * n, device="home")]
    assert reasons([*farm, *family]) == {e.event_id: {"shared_device"} for e in farm}


def test_many_accounts_over_a_long_time_share_a_device_like_any_till():
    day = 86_400
    events = [e for n in range(12) for e in visit(f"u{n}", day * n, device="library")]
    assert reasons(events) == {}


@pytest.mark.parametrize("claim", ["recommendation", "venue"])
def test_an_order_from_a_page_that_never_showed_the_item(claim):
    order = seen("order", 500, "u1", item="never shown", page=claim, order="o1")
    assert reasons([*visit("u1", 0), order]) == {order.event_id: {"unseen_order"}}


def test_orders_from_elsewhere_need_no_impression():
    assert reasons([seen("order", 0, "u1", item="i1", order="o1")]) == {}


def test_shown_to_the_device_before_signing_in_counts():
    shown = seen("impression", 0, device="d1", item="i1", page="r")
    order = seen("order", 60, "u1", device="d1", item="i1", page="r", order="o")
    assert reasons([shown, order]) == {}


def test_shown_too_long_ago_or_too_late_does_not_count():
    week = RULES.unseen_order.lookback_seconds
    old = seen("impression", 0, "u1", item="i1", page="r")
    late = seen("impression", week + 200, "u1", item="i1", page="r")
    order = seen("order", week + 100, "u1", item="i1", page="r", order="o")
    assert reasons([old, late, order]) == {order.event_id: {"unseen_order"}}
    in_time = seen("impression", week + 150, "u1", item="i1", page="r")
    assert reasons([old, in_time, order]) == {}


def test_ones_own_link_by_account_and_by_device():
    by_account = seen("click", 100, "u1", item="i1", shared_by="u1")
    at_home = seen("click", 0, "u2", device="d2", item="i1")
    by_device = seen("click", 200, "alias", device="d2", item="i1", shared_by="u2")
    friend = seen("click", 300, "u3", device="d3", item="i1", shared_by="u2")
    found = reasons([by_account, at_home, by_device, friend])
    assert found == {e.event_id: {"self_share"} for e in (by_account, by_device)}


def test_a_kind_set_to_null_is_not_looked_for():
    storm = [seen("cart", 0.2 * n, "u1", item=f"i{n}") for n in range(25)]
    assert find_flags(storm, RULES.model_copy(update={"burst": None})) == []

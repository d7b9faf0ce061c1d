from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.user_exposure import user_exposure
from tests.features.small import at, event, log


def exposure_of(*rows, as_of=30.0):
    return {row[c.USER_ID]: row for row in user_exposure(log(*rows), at(as_of)).to_pylist()}


def shown(item, days, user="u"):
    return event(user, item, days, "impression")


def test_impressions_are_counted_since_the_last_action_on_the_item():
    rows = exposure_of(
        shown("a", 10), shown("a", 11), event("u", "a", 12, "click"), shown("a", 13),
        shown("b", 10), shown("b", 14), shown("b", 15),
        shown("c", 16), event("u", "c", 17, "cart"),
    )  # fmt: skip
    row = rows["u"]
    assert row[f.EXPOSED_ITEM_IDS] == ["c", "b", "a"]
    assert row[f.EXPOSED_COUNTS] == [0, 3, 1]
    assert row[f.EXPOSED_AT] == [at(16), at(15), at(13)]
    assert row[f.DISLIKED_ITEM_IDS] == []


def test_impressions_of_long_ago_and_of_the_future_do_not_count():
    rows = exposure_of(shown("a", 1.9), shown("a", 2.0), shown("b", 1.0), shown("c", 30.0))
    assert rows["u"][f.EXPOSED_ITEM_IDS] == ["a"]
    assert rows["u"][f.EXPOSED_COUNTS] == [1]
    assert exposure_of(shown("a", 1.9))["u"][f.EXPOSED_ITEM_IDS] == []


def test_a_dislike_stands_until_an_action_takes_it_back():
    rows = exposure_of(
        event("u", "a", 1, "dislike"), event("u", "b", 2, "dislike"), event("u", "b", 3, "order"),
        event("u", "c", 4, "order"), event("u", "c", 5, "dislike"),
        event("v", "a", 6, "dislike"), shown("a", 7, "w"),
    )  # fmt: skip
    assert rows["u"][f.DISLIKED_ITEM_IDS] == ["c", "a"]
    assert rows["u"][f.DISLIKED_AT] == [at(5), at(1)]
    assert rows["v"][f.EXPOSED_ITEM_IDS] == []
    assert rows["w"][f.DISLIKED_ITEM_IDS] == []


def test_the_lists_are_bounded_to_the_newest():
    many = [shown(f"i{n:04d}", n / 100) for n in range(f.EXPOSURE_LENGTH + 9)]
    row = exposure_of(*many, as_of=10.0)["u"]
    assert len(row[f.EXPOSED_ITEM_IDS]) == f.EXPOSURE_LENGTH
    assert row[f.EXPOSED_ITEM_IDS][0] == f"i{len(many) - 1:04d}"


def test_users_without_either_have_no_row():
    assert exposure_of(event("u", "a", 1, "order"), event("u", "b", 2, "click")) == {}

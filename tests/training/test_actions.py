"""What each user acted on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.actions import Actions, act_again, items_by_user


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 9))))
def test_each_user_has_the_items_acted_on(pairs: list[tuple[int, int]]) -> None:
    users, items = (np.array([p[i] for p in pairs], dtype=np.int32) for i in (0, 1))
    found = items_by_user(Actions(users, items, np.zeros(len(pairs))))
    expected: dict[int, set[int]] = {}
    for user, item in pairs:
        expected.setdefault(user, set()).add(item)
    assert {user: kept.tolist() for user, kept in found.items()} == {
        user: sorted(kept) for user, kept in expected.items()
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9))), st.sets(st.integers(0, 9)))
def test_actions_on_some_items_are_those_whose_item_is_one_of_them(
    pairs: list[tuple[int, int]], wanted: set[int]
) -> None:
    users, items = (np.array([p[i] for p in pairs], dtype=np.int32) for i in (0, 1))
    actions = Actions(users, items, np.arange(len(pairs), dtype=float))
    found = actions.on(np.array(sorted(wanted), dtype=np.int32), of=10)
    kept = [(*pair, at) for at, pair in enumerate(pairs) if pair[1] in wanted]
    assert list(zip(found.users, found.items, found.at, strict=True)) == kept


def test_one_in_a_hundred_is_again() -> None:
    def orders(items: list[int], *, later: bool = True) -> Actions:
        size = len(items)
        codes = np.zeros(size, dtype=np.int32)
        at = np.arange(size, dtype=float) if later else np.zeros(size)
        return Actions(codes, np.array(items, dtype=np.int32), at)

    assert act_again(orders([*range(99), 0]))
    assert not act_again(orders([*range(100), 0]))
    assert not act_again(orders([0, 0, 0], later=False))  # two lines of one order
    assert not act_again(orders([]))

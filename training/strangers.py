"""Strangers: known users once more as they would look before their first action.

A venue is visited by many of whom nothing is known, while the history of a shop tells of few: most
of its users have been there for long. So the two-tower model also learns from a share of the known
users with their past taken away; declared tags stay, and what they did next is theirs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from qianmian.contracts import features as f
from qianmian.features.item_table import ItemTable
from qianmian.features.user_state import UserState, is_missing
from qianmian.features.user_tags import ACTIVITY_LEVELS

_ACTIVITY, _NO_ACTIVITY = f.DERIVED_TAGS[0], next(iter(ACTIVITY_LEVELS))


def then_strangers(
    states: Iterable[UserState], drawn: Container[int], items: ItemTable
) -> Iterator[UserState]:
    """The users, and behind them those at the `drawn` positions once more as strangers."""
    strangers = []
    for position, state in enumerate(states):
        if position in drawn:
            strangers.append(as_stranger(state, items))
        yield state
    yield from strangers


def as_stranger(state: UserState, items: ItemTable) -> UserState:
    """The user with nothing done yet, as features tell of one with declared tags alone.

    A user without any declared value is one of whom nothing at all is known.
    """
    declared = {name: v for name, v in state.tags.items() if name not in f.DERIVED_TAGS}
    row: dict[str, object] = dict(declared)
    if not all(is_missing(value) for value in declared.values()):
        row[_ACTIVITY] = _NO_ACTIVITY
    return UserState.read(state.user_id, row, items, tuple(state.tags))

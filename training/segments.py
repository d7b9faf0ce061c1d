"""Segments of users: those who have the same value of a tag. `activity_level=high` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qianmian.features.user_state import UserState, is_missing

#: User tags by whose values everything is measured apart; an evaluation may be asked for more.
SEGMENT_TAGS: Final = ("activity_level", "life_cycle")


def segments_of(state: UserState, tags: Sequence[str] = SEGMENT_TAGS) -> tuple[str, ...]:
    """The user's segment by each of the tags, in their order; "" where there is no value."""
    values = ((tag, state.tags.get(tag)) for tag in tags)
    return tuple("" if is_missing(value) else f"{tag}={value}" for tag, value in values)

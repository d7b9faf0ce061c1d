"""What looks like a slip in a sound venue: ids and values that the data set does not hold.

None of it is a fault, for an item or a category may come tomorrow; `qianmian venue check` tells it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Final

from pydantic import BaseModel

from qianmian.contracts import columns as c
from qianmian.errors import suggest
from qianmian.venues.conditions import Condition
from qianmian.venues.conditions.tree import Compare, In, Literal, Name, tests_of
from qianmian.venues.venue import Venue

_SHOWN: Final = 5


def advice(venue: Venue, values: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Return a line for each thing that nobody meets.

    Args:
        venue: a sound venue.
        values: the texts that are known of each column, of items and of users; `item_id` is one.
    """
    known = values.get(c.ITEM_ID, ())
    listed = venue.pool.items if venue.pool else ()
    if unknown := [item for item in listed if item not in known]:
        shown = ", ".join(unknown[:_SHOWN])
        yield f"pool.items: {len(unknown)} of {len(listed)} are not in the catalogue: {shown}"
    for condition in _conditions(venue):
        for name, value in _texts(condition):
            if name in values and value not in values[name]:
                hint = suggest(value, values[name])
                yield f"`{condition}`: no {name} is {value!r}{hint}"


def _conditions(part: object) -> Iterator[Condition]:
    """Return every condition below a model, data class, mapping or sequence."""
    if isinstance(part, Condition):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _conditions(getattr(part, name))
    elif is_dataclass(part):
        for one in fields(part):
            yield from _conditions(getattr(part, one.name))
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _conditions(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from _conditions(value)


def _texts(condition: Condition) -> Iterator[tuple[str, str]]:
    """Return each text that a column is compared with."""
    for test in tests_of(condition.tree):
        if isinstance(test, In):
            pairs = [(test.name, value) for value in test.values]
        elif isinstance(test, Compare):
            left, right = test.left, test.right
            name, value = (left, right) if isinstance(left, Name) else (right, left)
            pairs = [(name, value)] if isinstance(value, Literal) and isinstance(name, Name) else []
        else:
            continue
        for column, literal in pairs:
            if isinstance(literal.value, str):
                yield column.text, literal.value

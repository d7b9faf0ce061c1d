"""A condition as a value of a configuration file: its text, read and checked when it is loaded.

The types below check the columns, too, where the reader of the file gives the vocabularies as
validation context (`vocabularies`); without them only the grammar is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Self

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from qianmian.errors import ConditionError
from qianmian.venues.conditions.evaluate import Columns, Mask, evaluate
from qianmian.venues.conditions.parser import parse
from qianmian.venues.conditions.tree import Tree, names_of, tests_of
from qianmian.venues.conditions.vocabulary import Vocabulary, check

_ITEMS: Final = "items"
_USERS: Final = "users"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition and the text it was read from; equal by its text."""

    text: str
    tree: Tree = field(compare=False, repr=False)

    @classmethod
    def read(cls, text: str, vocabulary: Vocabulary | None = None) -> Self:
        """Read a condition, and check it against the columns that there are.

        Raises:
            ConditionError: it breaks the grammar, or the columns do not fit it.
        """
        tree = parse(text)
        if vocabulary is not None:
            check(tree, vocabulary)
        return cls(text, tree)

    def holds(self, columns: Columns, rows: int) -> Mask:
        """Return the rows for which it is true, bool [rows]."""
        return evaluate(self.tree, columns, rows)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it reads."""
        return frozenset(name.text for test in tests_of(self.tree) for name in names_of(test))

    def __str__(self) -> str:
        return self.text


def vocabularies(items: Vocabulary, users: Vocabulary) -> dict[str, object]:
    """Return the validation context in which conditions are checked against columns."""
    return {_ITEMS: items, _USERS: users}


def item_vocabulary(info: ValidationInfo) -> Vocabulary | None:
    """Return the item columns that the reader of a file gave as context, if it did."""
    vocabulary: Vocabulary | None = (info.context or {}).get(_ITEMS)
    return vocabulary


def _reader(about: str, example: str) -> Callable[[object, ValidationInfo], Condition]:
    def read(value: object, info: ValidationInfo) -> Condition:
        if isinstance(value, Condition):
            return value
        if not isinstance(value, str):
            raise ValueError(f"expected a condition on {about} such as `{example}`")  # noqa: TRY004  pydantic's own
        vocabulary = (info.context or {}).get(about)
        try:
            return Condition.read(value, vocabulary)
        except ConditionError as error:
            raise ValueError(str(error)) from error

    return read


_AsText = PlainSerializer(str, return_type=str)

#: A condition on items: over their attributes, statistics and the venue's price, coupon and stock.
ItemCondition = Annotated[
    Condition, PlainValidator(_reader(_ITEMS, 'category == "BREAD" and price < 5')), _AsText
]
#: A condition on users: over their tags.
Audience = Annotated[
    Condition, PlainValidator(_reader(_USERS, 'age in ("19-24", "25-34")')), _AsText
]

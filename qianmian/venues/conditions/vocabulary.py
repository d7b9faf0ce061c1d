"""Check a condition against the columns that there are, before anything is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qianmian.errors import ConditionError, suggest
from qianmian.venues.conditions.tree import (
    Compare,
    Contains,
    In,
    Known,
    Literal,
    Name,
    Test,
    Tree,
    names_of,
    tests_of,
)


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "number"
    TEXTS = "texts"
    """Any number of texts in each row."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The columns that a condition may name; `about` is what a row of them is."""

    about: str
    kinds: Mapping[str, Kind]


def check(tree: Tree, vocabulary: Vocabulary) -> None:
    """Refuse a condition that names no column or compares what cannot be compared.

    Raises:
        ConditionError: the first fault; it says where and what was expected.
    """
    for test in tests_of(tree):
        for name in names_of(test):
            _exists(name, test, vocabulary)
        _fits(test, vocabulary.kinds)


def _exists(name: Name, test: Test, vocabulary: Vocabulary) -> None:
    if name.text in vocabulary.kinds:
        return
    known = sorted(vocabulary.kinds)
    hint = suggest(name.text, known)
    if isinstance(test, Compare) and name is test.right and not hint:
        hint = f'; a text stands in quotes: "{name.text}"'
    listed = f"; there are {', '.join(known)}" if not hint else ""
    raise ConditionError(
        f"a column of {vocabulary.about}", name.column, repr(name.text), f"{hint}{listed}"
    )


def _fits(test: Test, kinds: Mapping[str, Kind]) -> None:
    if isinstance(test, Known):
        return
    if isinstance(test, Contains):
        if kinds[test.name.text] is not Kind.TEXTS:
            raise _not_so(test.name, kinds, "a column of many texts", "compare it with ==")
        return
    if isinstance(test, In):
        for value in test.values:
            _alike(test.name, value, kinds)
        return
    _comparable(test, kinds)


def _comparable(test: Compare, kinds: Mapping[str, Kind]) -> None:
    left, right = test.left, test.right
    if isinstance(left, Literal) and isinstance(right, Literal):
        raise ConditionError("a column on one side", left.column, repr(left.value))
    if isinstance(left, Name) and isinstance(right, Name):
        for side in (left, right):
            if kinds[side.text] is not Kind.NUMBER:
                raise _not_so(side, kinds, "a column of numbers", "compare a text with one text")
        return
    name, value = (left, right) if isinstance(left, Name) else (right, left)
    assert isinstance(name, Name)  # noqa: S101  of two sides one is a literal, as seen above
    assert isinstance(value, Literal)  # noqa: S101
    _alike(name, value, kinds)
    if isinstance(value.value, str) and test.op not in {"==", "!="}:
        raise ConditionError("== or != beside a text", test.column, test.op)


def _alike(name: Name, value: Literal, kinds: Mapping[str, Kind]) -> None:
    kind = kinds[name.text]
    if kind is Kind.TEXTS:
        raise ConditionError("contains", name.column, f"a column of many texts, {name.text!r}")
    if (kind is Kind.TEXT) != isinstance(value.value, str):
        shown = f'"{value.value:g}"' if not isinstance(value.value, str) else ""
        hint = f"; write {shown}" if shown else ""
        raise ConditionError(
            f"a {kind.value} beside {name.text!r}", value.column, repr(value.value), hint
        )


def _not_so(name: Name, kinds: Mapping[str, Kind], wanted: str, remedy: str) -> ConditionError:
    found = f"{name.text!r}, a column of {kinds[name.text].value}"
    return ConditionError(wanted, name.column, found, f"; {remedy}")

"""The tree of a condition: what the parser makes, the type check reads and evaluation runs over.

Columns are 1-based places in the text, for messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Name:
    """A column of the table that the condition is about."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A text or a number."""

    value: str | float
    column: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; op is one of == != < <= > >=."""

    op: str
    left: Name | Literal
    right: Name | Literal
    column: int


@dataclass(frozen=True, slots=True)
class In:
    """`name in (values)`."""

    name: Name
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """`name contains value`: a column of many values holds this one."""

    name: Name
    value: Literal


@dataclass(frozen=True, slots=True)
class Known:
    """`name is known`."""

    name: Name


@dataclass(frozen=True, slots=True)
class Not:
    """`not test`."""

    test: Tree


@dataclass(frozen=True, slots=True)
class And:
    """`a and b and ...`."""

    tests: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """`a or b or ...`."""

    tests: tuple[Tree, ...]


Test: TypeAlias = Compare | In | Contains | Known
Tree: TypeAlias = Test | Not | And | Or


def tests_of(tree: Tree) -> list[Test]:
    """Return the tests of a tree, from left to right."""
    if isinstance(tree, And | Or):
        return [test for branch in tree.tests for test in tests_of(branch)]
    if isinstance(tree, Not):
        return tests_of(tree.test)
    return [tree]


def names_of(test: Test) -> list[Name]:
    """Return the columns that a test reads."""
    if isinstance(test, Compare):
        return [side for side in (test.left, test.right) if isinstance(side, Name)]
    return [test.name]

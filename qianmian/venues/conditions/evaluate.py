"""Evaluate a condition over a table of columns, all rows at once.

An unknown value makes a test neither true nor false (Kleene's three values, as in SQL): `not`
leaves it unknown, `and` and `or` decide where the other side decides. A condition holds for a row
only where it is true, so what is unknown is never let through; `is known` is the one test that
always decides.

Shapes: `n` rows; each step gives two bool masks [n], where it is true and where it is false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from qianmian.venues.conditions.tree import (
    And,
    Compare,
    Contains,
    In,
    Known,
    Literal,
    Name,
    Not,
    Or,
    Test,
    Tree,
)

Mask = npt.NDArray[np.bool_]
_Verdict = tuple[Mask, Mask]


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of one text a row: `codes` int [n], 0 for unknown; `code_of` gives a text's code."""

    codes: npt.NDArray[np.integer]
    code_of: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, float [n]; NaN is unknown."""

    values: npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Sets:
    """A column of many texts a row, which nobody changes; None is unknown."""

    rows: Sequence[frozenset[str] | None]
    _masks: dict[str | None, Mask] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def known(self) -> Mask:
        """Return the rows that are known, bool [n]; remembered, for conditions ask again."""
        known = self._masks.get(None)
        if known is None:
            known = self._masks[None] = np.array(
                [row is not None for row in self.rows], dtype=np.bool_
            )
        return known

    def holding(self, text: str) -> Mask:
        """Return the rows that hold a text, bool [n]; remembered as well."""
        held = self._masks.get(text)
        if held is None:
            rows = [row is not None and text in row for row in self.rows]
            held = self._masks[text] = np.array(rows, dtype=np.bool_)
        return held


Column: TypeAlias = Texts | Numbers | Sets


class Columns(Protocol):
    """Columns by name; a dict is one."""

    def get(self, name: str, /) -> Column | None:
        """Return a column, None for one that is unknown in every row."""


_NUMERIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def evaluate(tree: Tree, columns: Columns, rows: int) -> Mask:
    """Return where a condition is true, bool [rows].

    A column that `columns` does not have is unknown in every row.
    """
    return _verdict(tree, columns, rows)[0]


def _verdict(tree: Tree, columns: Columns, rows: int) -> _Verdict:
    if isinstance(tree, Not):
        yes, no = _verdict(tree.test, columns, rows)
        return no, yes
    if isinstance(tree, And):
        parts = [_verdict(test, columns, rows) for test in tree.tests]
        return _all([yes for yes, _ in parts]), _any([no for _, no in parts])
    if isinstance(tree, Or):
        parts = [_verdict(test, columns, rows) for test in tree.tests]
        return _any([yes for yes, _ in parts]), _all([no for _, no in parts])
    return _tested(tree, columns, rows)


def _tested(test: Test, columns: Columns, rows: int) -> _Verdict:
    if isinstance(test, Compare):
        return _compare(test, columns, rows)
    column = columns.get(test.name.text)
    if isinstance(test, Known):
        known = _known(column, rows)
        return known, ~known
    if column is None:
        return _nowhere(rows), _nowhere(rows)
    return _contains(column, test) if isinstance(test, Contains) else _in(column, test)


def _compare(test: Compare, columns: Columns, rows: int) -> _Verdict:
    op, left, right = test.op, test.left, test.right
    if isinstance(left, Literal):
        op, left, right = _MIRRORED[op], right, left
    assert isinstance(left, Name)  # noqa: S101  the type check refuses two literals
    column = columns.get(left.text)
    if isinstance(right, Name):
        other = columns.get(right.text)
        if not isinstance(column, Numbers) or not isinstance(other, Numbers):
            return _nowhere(rows), _nowhere(rows)
        held = _NUMERIC[op](column.values, other.values)
        known = ~(np.isnan(column.values) | np.isnan(other.values))
        return held & known, ~held & known
    if isinstance(column, Numbers) and not isinstance(right.value, str):
        return _number(column, op, right.value)
    if isinstance(column, Texts) and isinstance(right.value, str):
        equal = _text(column, [right.value])
        return equal if op == "==" else equal[::-1]
    return _nowhere(rows), _nowhere(rows)


def _number(column: Numbers, op: str, value: float) -> _Verdict:
    held = _NUMERIC[op](column.values, value)
    known = ~np.isnan(column.values)
    return held & known, ~held & known


def _text(column: Texts, values: Sequence[str]) -> _Verdict:
    codes = [column.code_of[value] for value in values if value in column.code_of]
    if len(codes) == 1:
        held = column.codes == codes[0]
    elif codes:
        held = np.isin(column.codes, codes)
    else:
        held = np.zeros(len(column.codes), dtype=np.bool_)
    return held, ~held & (column.codes != 0)


def _in(column: Column, test: In) -> _Verdict:
    values = [literal.value for literal in test.values]
    if isinstance(column, Texts):
        return _text(column, [value for value in values if isinstance(value, str)])
    assert isinstance(column, Numbers)  # noqa: S101  the type check refuses sets
    verdicts = [_number(column, "==", value) for value in values if not isinstance(value, str)]
    return _any([yes for yes, _ in verdicts]), _all([no for _, no in verdicts])


def _contains(column: Column, test: Contains) -> _Verdict:
    assert isinstance(column, Sets)  # noqa: S101  the type check refuses others
    yes = column.holding(str(test.value.value))
    return yes, ~yes & column.known()


def _known(column: Column | None, rows: int) -> Mask:
    if column is None:
        return _nowhere(rows)
    if isinstance(column, Texts):
        coded: Mask = column.codes != 0
        return coded
    if isinstance(column, Numbers):
        present: Mask = np.logical_not(np.isnan(column.values))
        return present
    return column.known()


def _all(masks: list[Mask]) -> Mask:
    result: Mask = np.logical_and.reduce(masks)
    return result


def _any(masks: list[Mask]) -> Mask:
    result: Mask = np.logical_or.reduce(masks)
    return result


def _nowhere(rows: int) -> Mask:
    return np.zeros(rows, dtype=np.bool_)

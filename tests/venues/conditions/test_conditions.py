"""Conditions: what they say, how they are refused, and that rows are judged as one by one."""

from __future__ import annotations

import math
import operator
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from qianmian.errors import ConditionError
from qianmian.venues.conditions import (
    Condition,
    ItemCondition,
    Kind,
    Numbers,
    Sets,
    Texts,
    Vocabulary,
    vocabularies,
)
from qianmian.venues.conditions.tree import And, Compare, Contains, In, Known, Name, Not, Or

VOCABULARY = Vocabulary(
    "items",
    {
        "category": Kind.TEXT,
        "price": Kind.NUMBER,
        "base_price": Kind.NUMBER,
        "discount": Kind.NUMBER,
        "labels": Kind.TEXTS,
        "shelf no": Kind.TEXT,
    },
)
ROWS = [
    {"category": "DAIRY", "price": 4.0, "base_price": 5.0, "discount": 0.2, "labels": {"vegan"}},
    {"category": "BREAD", "price": 2.5, "base_price": 5.0, "discount": 0.5, "labels": set()},
    {"category": "SOAP", "price": 4.5, "base_price": None, "discount": None, "labels": None},
    {"category": None, "price": None, "base_price": 1.0, "discount": 0.0, "labels": {"a", "b"}},
]


def table(rows: list[dict[str, object]]) -> dict[str, Texts | Numbers | Sets]:
    def numbers(name: str) -> Numbers:
        return Numbers(np.array([math.nan if r[name] is None else r[name] for r in rows]))

    texts = sorted({r["category"] for r in rows if r["category"] is not None})
    code_of = {text: code for code, text in enumerate(texts, start=1)}
    return {
        "category": Texts(
            np.array([code_of.get(r["category"], 0) for r in rows], dtype=np.int32), code_of
        ),
        **{name: numbers(name) for name in ("price", "base_price", "discount")},
        "labels": Sets([None if r["labels"] is None else frozenset(r["labels"]) for r in rows]),
    }


def kept(text: str, rows: list[dict[str, object]] = ROWS) -> list[int]:
    condition = Condition.read(text, VOCABULARY)
    return np.flatnonzero(condition.holds(table(rows), len(rows))).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('category in ("DAIRY", "BREAD") and price < 5.0 and not discount > 0.3', [0]),
        ("category == 'BREAD' or price >= 4.5", [1, 2]),
        ('category != "BREAD"', [0, 2]),
        ('category == "NO SUCH"', []),
        ("5 > price", [0, 1, 2]),
        ("price < base_price", [0, 1]),
        ("not price < 3", [0, 2]),
        ("price in (4, 2.5)", [0, 1]),
        ("price not in (4, 2.5)", [2]),
        ("discount is unknown or discount == 0", [2, 3]),
        ("price is not unknown AND category is known", [0, 1, 2]),
        ('labels contains "vegan"', [0]),
        ('labels not contains "vegan"', [1, 3]),
        ('`shelf no` == "7"', []),
        ('not (`shelf no` == "7")', []),
        ("price < 1e3 and price > -1", [0, 1, 2]),
    ],
)
def test_conditions_hold_where_they_are_true(text: str, rows: list[int]) -> None:
    assert kept(text) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "categry == 'A'",
            "items at column 1, found 'categry', did you mean 'category'",
        ),
        ("category == DAIRY", "at column 13, found 'DAIRY'; a text stands in quotes: \"DAIRY\""),
        ("zzz is known", "there are base_price, category"),
        ("category = 'A'", "expected == at column 10, found ="),
        ("price < 1 && price > 0", "expected and at column 11, found &"),
        ("price < '5'", "expected a number beside 'price' at column 9, found '5'"),
        ("category == 5", "a text beside 'category' at column 13, found 5.0; write \"5\""),
        ("category < 'A'", "expected == or != beside a text at column 10"),
        ("1 < price < 5", "expected and: write `1 < price and price < 5` at column 11"),
        ("1 < 2", "expected a column on one side at column 1"),
        ("labels == 'a'", "expected contains at column 1"),
        ("category contains 'a'", "a column of many texts at column 1, found 'category'"),
        ("category == price", "expected a column of numbers at column 1, found 'category'"),
        ("category in 'A'", 'expected ( and a list such as ("a", "b") at column 13'),
        (
            "category in (price)",
            "expected a number or a text in quotes at column 14, found 'price'",
        ),
        ("category in ('a'", "expected , or ) at column 17, found the end"),
        ("(price < 1", "expected and, or, or ) at column 11, found the end"),
        ("price", "one of == != < <= > >=, in, contains or is at column 6, found the end"),
        ("price < 1 price", "expected and, or, or the end at column 11"),
        ("", "expected a column, a number or a text at column 1, found the end"),
        ("category == 'A", "expected a closing ' at column 13"),
        ("price * 2 < 1", "expected a comparison without arithmetic at column 7"),
        ("price < 5€", "expected a column, a number, a text or an operator at column 10"),
        ("price is 5", "expected known or unknown at column 10"),
        ("(" * 60 + "price < 1" + ")" * 60, "at most 40 levels at column 41"),
        ("price < 1 or " * 400 + "price < 2", "at most 4000 characters"),
        ("price < 1e999", "expected a finite number at column 9"),
    ],
)
def test_faults_say_where_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.read(text, VOCABULARY)
    assert said in str(caught.value)


def test_schema_type_checks_columns_only_where_it_knows_them() -> None:
    adapter = TypeAdapter(ItemCondition)
    assert adapter.validate_json('"anything < 5"').columns == {"anything"}
    context = vocabularies(VOCABULARY, Vocabulary("users", {}))
    with pytest.raises(ValidationError, match="found 'anything'"):
        adapter.validate_json('"anything < 5"', context=context)
    with pytest.raises(ValidationError, match="expected a condition on items such as"):
        adapter.validate_json("5")


def test_prices_in_single_precision_equal_what_an_operator_writes() -> None:
    columns = {"price": Numbers(np.array([4.99], dtype=np.float32))}
    assert Condition.read("price == 4.99").holds(columns, 1).tolist() == [True]


# -- every row is judged as a plain evaluator judges it alone ------------------------------------

OPERATORS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def naive(tree, row) -> bool | None:  # noqa: PLR0911  one return a kind of test
    """One row, one test at a time, None for unknown."""
    if isinstance(tree, Not):
        inner = naive(tree.test, row)
        return None if inner is None else not inner
    if isinstance(tree, And | Or):
        decisive = isinstance(tree, Or)
        verdicts = [naive(test, row) for test in tree.tests]
        if decisive in verdicts:
            return decisive
        return None if None in verdicts else not decisive
    if isinstance(tree, Known):
        return row[tree.name.text] is not None
    if isinstance(tree, Compare):
        left, right = (
            row[side.text] if isinstance(side, Name) else side.value
            for side in (tree.left, tree.right)
        )
        return None if left is None or right is None else OPERATORS[tree.op](left, right)
    value = row[tree.name.text]
    if value is None:
        return None
    if isinstance(tree, Contains):
        return tree.value.value in value
    assert isinstance(tree, In)
    return value in [literal.value for literal in tree.values]


texts = st.sampled_from(["DAIRY", "BREAD", "it's", 'a "b"', "back\\slash", "und", "None"])
numbers = st.sampled_from([-1.0, 0.0, 0.25, 1.0, 2.5, 1e6])
number_names = st.sampled_from(["price", "base_price", "discount"])
rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "category": st.none() | texts,
            "price": st.none() | numbers,
            "base_price": st.none() | numbers,
            "discount": st.none() | numbers,
            "labels": st.none() | st.frozensets(texts, max_size=3),
        }
    ),
    max_size=6,
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def listed(values) -> str:
    return "(" + ", ".join(values) + ")"


comparisons = st.one_of(
    st.tuples(number_names, st.sampled_from(list(OPERATORS)), numbers.map(repr) | number_names),
    st.tuples(numbers.map(repr), st.sampled_from(list(OPERATORS)), number_names),
    st.tuples(st.just("category"), st.sampled_from(["==", "!="]), texts.map(quoted)),
    st.tuples(
        st.just("category"), st.sampled_from(["in", "not in"]),
        st.lists(texts.map(quoted), min_size=1, max_size=3).map(listed),
    ),
    st.tuples(
        number_names, st.sampled_from(["in", "not in"]),
        st.lists(numbers.map(repr), min_size=1, max_size=3).map(listed),
    ),
    st.tuples(
        st.just("labels"), st.sampled_from(["contains", "not contains"]), texts.map(quoted)
    ),
    st.tuples(
        number_names | st.sampled_from(["category", "labels"]), st.just("is"),
        st.sampled_from(["known", "unknown", "not known", "not unknown"]),
    ),
).map(" ".join)  # fmt: skip
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=8,
)


@given(text=conditions, rows=rows_of)
def test_rows_together_are_judged_as_rows_alone(text: str, rows: list[dict[str, object]]) -> None:
    condition = Condition.read(text, VOCABULARY)
    held = condition.holds(table(rows), len(rows))
    assert held.tolist() == [naive(condition.tree, row) is True for row in rows]


def fits(text: str) -> bool:
    try:
        Condition.read(text, VOCABULARY)
    except ConditionError:
        return False
    return True


@given(text=st.text(max_size=40) | st.text("() <=>!'\"`andortisprice05,.", max_size=40))
def test_any_text_is_a_condition_or_refused_with_a_place(text: str) -> None:
    with pytest.raises(ConditionError, match="at column") if not fits(text) else nullcontext():
        Condition.read(text, VOCABULARY)

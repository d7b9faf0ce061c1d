"""Read a condition: recursive descent over its tokens, one function a rule of the grammar.

either   = both { "or" both }
both     = inverted { "and" inverted }
inverted = "not" inverted | "(" either ")" | test
test     = operand ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) operand
         | name [ "not" ] "in" "(" literal { "," literal } ")"
         | name [ "not" ] "contains" text
         | name "is" [ "not" ] ( "known" | "unknown" )
operand  = name | literal
literal  = number | text
"""

from __future__ import annotations

import math
from typing import Final

from qianmian.errors import ConditionError
from qianmian.venues.conditions.lexer import END, MARK, NAME, NUMBER, TEXT, WORD, Token, tokens
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
    Tree,
)

LONGEST: Final = 4000  # characters
DEEPEST: Final = 40  # parentheses and `not` within one another
COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")


def parse(text: str) -> Tree:
    """Return the tree of a condition.

    >>> parse("price < 5").op
    '<'
    >>> parse("price <")
    Traceback (most recent call last):
    qianmian.errors.ConditionError: expected a column, a number or a text at column 8, found the end

    Raises:
        ConditionError: the text is not one; the error says where and what was expected.
    """
    if len(text) > LONGEST:
        raise ConditionError(f"at most {LONGEST} characters", LONGEST + 1, f"{len(text)}")
    parser = _Parser(tokens(text))
    tree = parser.either()
    parser.finish()
    return tree


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def either(self) -> Tree:
        tests = [self._both()]
        while self._took(WORD, "or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else Or(tuple(tests))

    def finish(self) -> None:
        if self._next.kind != END:
            raise self._expected("and, or, or the end")

    def _both(self) -> Tree:
        tests = [self._inverted()]
        while self._took(WORD, "and"):
            tests.append(self._inverted())
        return tests[0] if len(tests) == 1 else And(tuple(tests))

    def _inverted(self) -> Tree:
        token = self._next
        if not (self._took(WORD, "not") or self._took(MARK, "(")):
            return self._test()
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConditionError(f"at most {DEEPEST} levels", token.column, "another one")
        if token.kind == WORD:
            tree: Tree = Not(self._inverted())
        else:
            tree = self.either()
            if not self._took(MARK, ")"):
                raise self._expected("and, or, or )")
        self._depth -= 1
        return tree

    def _test(self) -> Tree:
        left = self._operand("a column, a number or a text")
        token = self._next
        if token.kind == MARK and token.text in COMPARISONS:
            self._at += 1
            right = self._operand("a column, a number or a text")
            return self._ended(Compare(token.text, left, right, token.column))
        if not isinstance(left, Name):
            raise self._expected(f"one of {' '.join(COMPARISONS)}")
        if self._took(WORD, "is"):
            inverted = self._took(WORD, "not")
            if self._took(WORD, "known"):
                return Not(Known(left)) if inverted else Known(left)
            if self._took(WORD, "unknown"):
                return Known(left) if inverted else Not(Known(left))
            raise self._expected("known or unknown")
        inverted = self._took(WORD, "not")
        test = self._membership(left)
        return Not(test) if inverted else test

    def _membership(self, name: Name) -> Tree:
        if self._took(WORD, "contains"):
            if self._next.kind != TEXT:
                raise self._expected("a text in quotes")
            return Contains(name, self._literal())
        if not self._took(WORD, "in"):
            raise self._expected(f"one of {' '.join(COMPARISONS)}, in, contains or is")
        if not self._took(MARK, "("):
            raise self._expected('( and a list such as ("a", "b")')
        values = [self._listed()]
        while self._took(MARK, ","):
            values.append(self._listed())
        if not self._took(MARK, ")"):
            raise self._expected(", or )")
        return In(name, tuple(values))

    def _ended(self, test: Compare) -> Compare:
        if self._next.kind == MARK and self._next.text in COMPARISONS:
            raise self._expected("and: write `1 < price and price < 5`")
        return test

    def _operand(self, wanted: str) -> Name | Literal:
        token = self._next
        if token.kind == NAME:
            self._at += 1
            return Name(token.text, token.column)
        if token.kind in {NUMBER, TEXT}:
            return self._literal()
        raise self._expected(wanted)

    def _listed(self) -> Literal:
        if self._next.kind not in {NUMBER, TEXT}:
            raise self._expected("a number or a text in quotes")
        return self._literal()

    def _literal(self) -> Literal:
        token = self._next
        self._at += 1
        if token.kind == TEXT:
            return Literal(token.text, token.column)
        value = float(token.text)
        if not math.isfinite(value):
            raise ConditionError("a finite number", token.column, token.text)
        return Literal(value, token.column)

    def _took(self, kind: str, text: str) -> bool:
        token = self._next
        if token.kind != kind or token.text != text:
            return False
        self._at += 1
        return True

    def _expected(self, wanted: str) -> ConditionError:
        return ConditionError(wanted, self._next.column, self._next)

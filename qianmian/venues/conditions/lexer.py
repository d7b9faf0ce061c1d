"""Cut the text of a condition into tokens, each with its column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from qianmian.errors import ConditionError

NAME: Final = "name"
NUMBER: Final = "number"
TEXT: Final = "text"
WORD: Final = "word"
MARK: Final = "mark"
END: Final = "end"

#: Words of the language; they are read in any case and cannot name a column unless in backticks.
WORDS: Final = frozenset({"and", "or", "not", "in", "is", "known", "unknown", "contains"})

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![A-Za-z_0-9]))
    | (?P<name>[^\W\d]\w*)
    | (?P<ticked>`[^`]+`)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<mark>==|!=|<=|>=|<|>|\(|\)|,)
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
#: What people write who know another language, and what to write here.
_INSTEAD: Final = {
    "&": "and", "|": "or", "!": "not", "=": "==", "~": "not", "[": "(", "]": ")",
    "*": "a comparison without arithmetic", "+": "a comparison without arithmetic",
    "-": "a comparison without arithmetic", "/": "a comparison without arithmetic",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text; `column` counts from 1."""

    kind: str
    text: str
    column: int

    def __str__(self) -> str:
        return "the end" if self.kind == END else repr(self.text)


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text, `END` last.

    Raises:
        ConditionError: a character starts no token.
    """
    found: list[Token] = []
    place = 0
    while True:
        match = _TOKEN.match(text, place)
        if match is None:
            raise _unreadable(text, place)
        kind = str(match.lastgroup)
        token = _token(kind, match[kind], match.start(kind) + 1)
        found.append(token)
        if token.kind == END:
            return found
        place = match.end()


def _token(kind: str, text: str, column: int) -> Token:
    if kind == "ticked":
        return Token(NAME, text[1:-1], column)
    if kind == TEXT:
        return Token(TEXT, re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL), column)
    if kind == NAME and text.lower() in WORDS:
        return Token(WORD, text.lower(), column)
    return Token(kind, text, column)


def _unreadable(text: str, place: int) -> ConditionError:
    place += len(text[place:]) - len(text[place:].lstrip())
    character = text[place]
    if character in "\"'`":
        return ConditionError(f"a closing {character}", place + 1, "text to the end")
    instead = _INSTEAD.get(character)
    if instead is None:
        return ConditionError("a column, a number, a text or an operator", place + 1, character)
    return ConditionError(instead, place + 1, character)

"""A condition as a value of a configuration file: its text, read and checked when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition and the text it was read from."""

    text: str

    def __str__(self) -> str:
        return self.text


def _read(value: object) -> Condition:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('expected a condition such as `category == "BREAD" and price < 5`')
    return Condition(value)


_AsText = PlainSerializer(str, return_type=str)

#: A condition on items: over their attributes, statistics and the venue's price, coupon and stock.
ItemCondition = Annotated[Condition, PlainValidator(_read), _AsText]
#: A condition on users: over their tags.
Audience = Annotated[Condition, PlainValidator(_read), _AsText]

"""Put pydantic's verdict into the words that an author of a configuration file needs."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from qianmian.config.document import Location, Plain
from qianmian.errors import suggest

_SHOWN = 80  # characters of a value that a fault repeats


def describe(detail: ErrorDetails, values: Plain, model: type[BaseModel]) -> tuple[Location, str]:
    """Return where a fault lies in the file and the text that follows its path."""
    location = _written(detail["loc"], values, missing=detail["type"] == "missing")
    match detail["type"]:
        case "missing":
            return location, f": missing; expected {_wanted(location, model)}"
        case "extra_forbidden":
            names = known_keys(location[:-1], model)
            hint = _hint(str(location[-1]), names)
            known = f"; expected one of {', '.join(names)}" if names else ""
            return location, f"={_show(detail['input'])}: unknown key{known}{hint}"
        case "union_tag_invalid":
            context = detail["ctx"]
            tags = context["expected_tags"]
            hint = _hint(context["tag"], re.findall(r"'([^']+)'", tags))
            key = context["discriminator"].strip("'")
            return (*location, key), f"={context['tag']!r}: expected one of {tags}{hint}"
    expected = expectation(detail)
    hint = ""
    if isinstance(detail["input"], str):
        choices = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
        hint = _hint(detail["input"], choices)
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        hint = f'; quote it: "{detail["input"]}"'
    shown = f"={_show(detail['input'])}" if location else ""
    return location, f"{shown}: {expected}{hint}"


def _hint(word: str, known: list[str]) -> str:
    return suggest(word, known).replace(",", ";", 1)


def expectation(detail: ErrorDetails) -> str:
    """Return what pydantic expected, in words that begin with `expected`."""
    text = detail["msg"]
    for prefix in ("Value error, ", "Assertion failed, "):
        text = text.removeprefix(prefix)
    text = re.sub(r"^(Input|Value|String|List|Tuple|Dictionary|Set) should ", "expected to ", text)
    text = text.replace("expected to be ", "expected ", 1).replace(", unable to parse", ":", 1)
    return text if text.startswith("expected") else f"expected otherwise: {text}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _written(loc: tuple[int | str, ...], values: Plain, *, missing: bool) -> Location:
    """Drop what pydantic adds to a location (union tags, `[key]`), keeping what the file says."""
    place: list[str | int] = []
    here: Any = values
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        in_mapping = isinstance(here, dict) and isinstance(part, str) and part in here
        if in_mapping or (isinstance(here, list) and isinstance(part, int)):
            here = here[part]
        elif not (last and missing):
            continue
        place.append(part)
    return tuple(place)


def _models(location: Location, model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models that may stand at a location (several below a union)."""
    annotations: list[Any] = [model]
    for part in location:
        annotations = [below for annotation in annotations for below in _below(annotation, part)]
    return [
        leaf
        for annotation in annotations
        for leaf in _leaves(annotation)
        if isinstance(leaf, type) and issubclass(leaf, BaseModel)
    ]


def _below(annotation: Any, part: str | int) -> list[Any]:
    found: list[Any] = []
    for leaf in _leaves(annotation):
        if isinstance(leaf, type) and issubclass(leaf, BaseModel):
            found += [
                field.annotation
                for name, field in leaf.model_fields.items()
                if part in {name, field.alias}
            ]
        elif arguments := [a for a in typing.get_args(leaf) if a is not Ellipsis]:
            found.append(arguments[-1])  # the element of a sequence, the value of a mapping
    return found


def _leaves(annotation: Any) -> list[Any]:
    """Open optional, union and annotated types."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _leaves(typing.get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        return [leaf for a in typing.get_args(annotation) for leaf in _leaves(a)]
    return [annotation]


def known_keys(location: Location, model: type[BaseModel]) -> list[str]:
    """Return the keys that the schema has at a location."""
    return sorted(
        {
            field.alias or name
            for found in _models(location, model)
            for name, field in found.model_fields.items()
        }
    )


def _wanted(location: Location, model: type[BaseModel]) -> str:
    """Say what a missing key is for, from its docstring in the schema."""
    for parent in _models(location[:-1], model):
        for name, field in parent.model_fields.items():
            if location[-1] in {name, field.alias} and field.description:
                return field.description.strip().rstrip(".")
    return "this key, it has no default"

"""A YAML text as plain values plus the line of every key: the input of validation.

Values follow the core schema of YAML 1.2 rather than PyYAML's 1.1, whose readings surprise the
authors of schedules and codes: `12:30` stays text instead of becoming 750, `no` and `on` stay
text instead of becoming booleans, `1e-3` is a number, and moments stay text for the schema to read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Location: TypeAlias = tuple[str | int, ...]


class CoreLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{t}" for t in ("null", "bool", "int", "float"))
for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}", list("-+0123456789")),
    (
        _FLOAT,
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    CoreLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the text itself: where and what."""

    line: int
    message: str


@dataclass(slots=True)
class Document:
    """Plain values of a YAML text, the line of each location, and the faults of its form."""

    values: dict[str, Plain] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """Return the 1-based line of a location, or of its nearest parent that is written."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read_document(text: str) -> Document:
    """Parse YAML text; what is wrong with its form is in `problems`, never raised."""
    document = Document()
    try:
        node = yaml.compose(text, Loader=CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = error.problem or str(error)
        document.problems.append(Problem(line, f"cannot be read as YAML: {what}"))
        return document
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"cannot be read as YAML: character #x{error.character:04x} is not allowed"
        document.problems.append(Problem(line, message))
        return document
    except RecursionError:
        document.problems.append(Problem(1, "cannot be read as YAML: nested too deep"))
        return document
    if node is None:
        return document
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        document.problems.append(Problem(line, "expected a mapping (`key: value` lines)"))
        return document
    document.values = _mapping(node, (), document, frozenset())
    return document


def _plain(node: yaml.Node, at: Location, document: Document, above: frozenset[int]) -> Plain:
    if id(node) in above:
        problem = Problem(node.start_mark.line + 1, f"{show_path(at)}: an alias holds itself")
        document.problems.append(problem)
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, at, document, above)
    if isinstance(node, yaml.SequenceNode):
        values: list[Plain] = []
        for index, child in enumerate(node.value):
            place = (*at, index)
            document.lines[place] = child.start_mark.line + 1
            values.append(_plain(child, place, document, above | {id(node)}))
        return values
    assert isinstance(node, yaml.ScalarNode)  # noqa: S101  the third and last kind of node
    return _scalar(node, at, document)


def _mapping(
    node: yaml.MappingNode, at: Location, document: Document, above: frozenset[int]
) -> dict[str, Plain]:
    values: dict[str, Plain] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(line, f"{show_path(at)}: expected keys that are text"))
            continue
        key = key_node.value
        place = (*at, key)
        if key in values:
            first = document.lines[place]
            message = f"{show_path(place)}: expected each key once; it stands on line {first} too"
            document.problems.append(Problem(line, message))
            continue
        document.lines[place] = line
        values[key] = _plain(child, place, document, above | {id(node)})
    return values


def _scalar(node: yaml.ScalarNode, at: Location, document: Document) -> Plain:
    text: str = node.value
    match node.tag:
        case "tag:yaml.org,2002:null":
            return None
        case "tag:yaml.org,2002:bool":
            return text.lower() == "true"
        case "tag:yaml.org,2002:int":
            return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
        case "tag:yaml.org,2002:float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case "tag:yaml.org,2002:str":
            return text
    message = f"{show_path(at)}: expected a plain value; tags such as {node.tag} are not read"
    document.problems.append(Problem(node.start_mark.line + 1, message))
    return None


def show_path(location: Location) -> str:
    """Write a location as its author would.

    >>> show_path(("arms", 0, "weights", "click"))
    'arms[0].weights.click'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "file"


class CoreDumper(yaml.SafeDumper):
    """Writes YAML that `read_document` and YAML 1.1 readers both read back unchanged."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {  # noqa: RUF012
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *CoreLoader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *CoreLoader.yaml_implicit_resolvers}
    }


def _write_text(dumper: CoreDumper, text: str) -> yaml.ScalarNode:
    """Quote text whose line breaks PyYAML would write bare and then read back as others."""
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


CoreDumper.add_representer(str, _write_text)


def write_document(values: dict[str, Plain]) -> str:
    """Return YAML text of plain values, keys in their order."""
    return yaml.dump(
        values, Dumper=CoreDumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )

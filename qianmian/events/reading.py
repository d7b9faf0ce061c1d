"""Read the events of a body: at once where nothing is wrong with it, else with every fault told.

    events = read_faultless(body)      # None: ask `EVENTS_REQUEST`, it says what is wrong

The models of `qianmian.contracts.event_api` are the one truth of what an event is. The lean structs
here are made of their JSON schema when this module is loaded, and take only what those models take,
at a sixth of their time. What a struct does not take is never refused here: the models judge it.
A time with more digits than microseconds is rounded by the structs and cut by the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, cast

from msgspec import Meta, MsgspecError, Struct, defstruct
from msgspec.json import Decoder

from qianmian.contracts.event_api import MAX_EVENTS, Event
from qianmian.contracts.events import EventType

_ENUMS: Final = {f"#/$defs/{EventType.__name__}": EventType}
_PLAIN: Final[dict[str, Any]] = {"string": str, "number": float, "integer": int}
_LIMITS: Final = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "ge",
    "maximum": "le",
    "pattern": "pattern",
}
_WORDS: Final = frozenset({"type", "title", "description", "default"})


def read_faultless(body: bytes) -> tuple[Event, ...] | None:
    """Return the events of a body; None where anything about it is in doubt."""
    try:
        batch = _DECODE(body)
    except (MsgspecError, UnicodeDecodeError):
        return None
    return cast("tuple[Event, ...]", batch.events)  # same names, same types of values


def lean_type(schema: Mapping[str, Any]) -> Any:
    """Return the type that msgspec checks as a JSON schema says.

    Raises:
        NotImplementedError: the schema says something that this does not know.
    """
    match schema:
        case {"$ref": str(name)} if name in _ENUMS:
            return _ENUMS[name]
        case {"anyOf": [one, {"type": "null"}]}:
            return lean_type(one) | None
        case {"type": "string", "format": "date-time"}:
            return Annotated[datetime, Meta(tz=True)]
        case {"type": str(kind)} if kind in _PLAIN and schema.keys() <= _WORDS | _LIMITS.keys():
            limits = {_LIMITS[word]: value for word, value in schema.items() if word in _LIMITS}
            if "pattern" in limits:  # `$` of Python also stands before a last line break
                limits["pattern"] = limits["pattern"].removesuffix("$") + r"\Z"
            return Annotated[_PLAIN[kind], Meta(**limits)] if limits else _PLAIN[kind]
        case _:
            raise NotImplementedError(f"{schema}: no lean type for it; teach `lean_type`")


def _decoder() -> Decoder[Any]:
    schema = Event.model_json_schema()
    needed = frozenset(schema["required"])
    fields = [
        (name, lean_type(told)) if name in needed else (name, lean_type(told), told["default"])
        for name, told in schema["properties"].items()
    ]
    options: dict[str, Any] = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True}
    event: type[Struct] = defstruct("LeanEvent", fields, gc=False, **options)
    many = Annotated[tuple[event, ...], Meta(min_length=1, max_length=MAX_EVENTS)]  # type: ignore[valid-type]
    return Decoder(defstruct("LeanBatch", [("events", many)], **options))


_DECODE: Final = _decoder().decode

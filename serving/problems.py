"""Refusals as RFC 9457 problem documents: what field, what value, what was expected, the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.responses import Response

from qianmian.config.document import Location, show_path
from qianmian.config.faults import describe, expectation, known_keys
from qianmian.errors import FieldError, NotFoundError, suggest

CONTENT_TYPE: Final = "application/problem+json"
#: Of a problem that is over soon.
RETRY_AFTER: Final = {"retry-after": "1"}
_SHOWN: Final = 200  # characters of a value that a document repeats

Fault = dict[str, Any]


def problem(
    status: HTTPStatus,
    kind: str,
    detail: str,
    faults: Sequence[Fault] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem document; `kind` names the sort of problem in its `type`."""
    document = {
        "type": f"urn:qianmian:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status.value,
        "detail": detail,
        "errors": list(faults),
    }
    return Response(orjson.dumps(document), status, headers, CONTENT_TYPE)


def invalid_field(error: FieldError) -> Response:
    """Return 422 for one field that cannot be used."""
    fault = {
        "field": error.field,
        "value": _short(error.value),
        "expected": error.expected,
        "remedy": error.remedy,
    }
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-field", str(error), [fault])


def invalid_body(error: ValidationError, body: bytes, model: type[BaseModel]) -> Response:
    """Return 422 for a body that does not fit its schema; all faults are listed."""
    faults = _faults(error, body, model)
    first = faults[0]
    detail = f"{first['field']}={first['value']!r}: expected {first['expected']}"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", detail, faults)


def not_found(error: NotFoundError) -> Response:
    """Return 404 for something asked for by name."""
    kind = error.kind.replace(" ", "-")
    return problem(HTTPStatus.NOT_FOUND, f"unknown-{kind}", str(error))


def not_written(detail: str) -> Response:
    """Return 503 for what could not be kept now."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-written", detail, headers=RETRY_AFTER)


def _faults(error: ValidationError, body: bytes, model: type[BaseModel]) -> list[Fault]:
    """Return one fault for each field, in the order of the body's schema."""
    try:
        values = from_json(body)  # the parser of the validation: what it refuses is refused here
    except ValueError:
        values = None
    details = error.errors(include_url=False, include_context=True)
    faults: dict[tuple[str | int, ...], Fault] = {}
    for detail in details:
        if detail["type"] == "too_short" and any(_inside(d["loc"], detail["loc"]) for d in details):
            continue  # only short because what stood in it was refused
        location, _ = describe(detail, values, model)
        if location in faults:  # several types were possible
            faults[location]["expected"] += f" or {_expected(detail, location, model)}"
            continue
        faults[location] = {
            "field": show_path(location) if location else "body",
            "value": _short(detail["input"]),
            "expected": _expected(detail, location, model),
            "remedy": _remedy(detail, location, model),
        }
    return list(faults.values())


def _inside(location: tuple[str | int, ...], parent: tuple[str | int, ...]) -> bool:
    return len(location) > len(parent) and location[: len(parent)] == parent


def _expected(detail: ErrorDetails, location: Location, model: type[BaseModel]) -> str:
    match detail["type"]:
        case "json_invalid":
            return f"a JSON object ({detail['ctx']['error']})"
        case "extra_forbidden":
            return f"one of {', '.join(known_keys(location[:-1], model))}"
        case "missing":
            return "this field"
    return expectation(detail).removeprefix("expected ")


def _remedy(detail: ErrorDetails, location: Location, model: type[BaseModel]) -> str:
    match detail["type"]:
        case "json_invalid" | "model_type" if not location:
            return "send a JSON object; /docs shows its fields"
        case "extra_forbidden":
            name = str(location[-1])
            return f"remove {name}{suggest(name, known_keys(location[:-1], model))}"
        case "missing":
            return f"add {show_path(location)}"
    return f"set {show_path(location)} as expected; /docs shows its schema"


def _short(value: object) -> object:
    """Return a value as JSON can hold it, cut where it is long."""
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)[:_SHOWN]
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

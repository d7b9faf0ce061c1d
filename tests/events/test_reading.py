"""What is read at once is what the contract's models read: the same values or nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qianmian.contracts.event_api import EVENTS_REQUEST, MAX_EVENTS, Event
from qianmian.events.reading import lean_type, read_faultless

PLAIN: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "click",
    "timestamp": "2026-01-01T12:00:00.123456+02:00",
    "item_id": "i1",
}
FULL = PLAIN | {
    **dict.fromkeys(("user_id", "visitor_id", "session_id", "page_view_id", "order_id"), "ü" * 256),
    **dict.fromkeys(("venue_id", "block_id", "coupon_id", "shared_by"), "\U0001f600"),
    "position": 3,
    "quantity": 2,
    "value": 0.1,
    "list_value": -0.0,
    "currency": "EUR",
    "attribution_token": "t" * 16_384,
}
TIMES = (
    *("2026-01-01T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00Z"),
    *("2026-01-01T00:00:00", "2026-01-01T24:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01"),
    *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00,5Z", "1767225600", " 2026-01-01T00:00:00Z"),
)
ODD = st.one_of(
    st.sampled_from((*TIMES, "EUR", "EUR\n", "EURO", "click", "stare", "", "x" * 257, "3", None)),
    st.sampled_from((True, 1, 0, -1, 1.0, 1.5, 10**6, 10**6 + 1, 2**63, 1e300, [], {}, ["x"])),
    st.text(max_size=4),
)


def by_models(body: bytes) -> tuple[Event, ...] | None:
    try:
        return EVENTS_REQUEST.validate_json(body).events
    except ValidationError:
        return None


def values(events: Any) -> list[list[tuple[type, Any]]]:
    return [
        [(type(value), value) for value in (getattr(event, name) for name in Event.model_fields)]
        for event in events
    ]


def test_every_field_is_read_at_once() -> None:
    assert set(FULL) == set(Event.model_fields)
    body = orjson.dumps({"events": [PLAIN, FULL]})
    read = read_faultless(body)
    assert read is not None
    assert values(read) == values(by_models(body))


@given(
    st.lists(st.dictionaries(st.sampled_from((*FULL, "unheard_of")), ODD, max_size=3), max_size=3)
)
def test_what_is_read_at_once_is_what_the_models_read(changes: list[dict[str, Any]]) -> None:
    body = orjson.dumps({"events": [PLAIN | change for change in changes]})
    read = read_faultless(body)
    if read is not None:
        models = by_models(body)
        assert models is not None
        assert values(read) == values(models)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"null",
            b"[]",
            b"{}",
            b'{"events": []}',
            b'{"events": {}}',
            b"\xff",
            b"\xef\xbb\xbf{}",
        ),
        orjson.dumps({"events": [PLAIN], "more": 1}),
        orjson.dumps({"events": [PLAIN] * (MAX_EVENTS + 1)}),
        orjson.dumps({"events": [PLAIN]}) + b"x",
        orjson.dumps({"events": [PLAIN]}).replace(b'"i1"', b'"\xff"'),
        orjson.dumps({"events": [PLAIN]}).replace(b'"i1"', rb'"\ud800"'),
        orjson.dumps({"events": [PLAIN | {"value": 7}]}).replace(b":7", b":1e999"),
        orjson.dumps({"events": [PLAIN | {"value": 7}]}).replace(b":7", b":NaN"),
    ],
)
def test_what_the_models_refuse_is_not_read(body: bytes) -> None:
    assert by_models(body) is None
    assert read_faultless(body) is None


def test_what_only_the_models_can_read_is_left_to_them() -> None:
    body = orjson.dumps({"events": [PLAIN | {"timestamp": "2026-01-01T00:00Z"}]})
    assert read_faultless(body) is None
    assert by_models(body) is not None


def test_a_rule_that_the_structs_cannot_keep_is_no_rule_to_skip() -> None:
    with pytest.raises(NotImplementedError, match="multipleOf"):
        lean_type({"type": "integer", "multipleOf": 5})

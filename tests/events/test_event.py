"""A stored event as JSON: small, and the same again."""

from __future__ import annotations

import orjson
import pytest
from msgspec import ValidationError

from qianmian.events.event import StoredEvent
from tests.events.made import event


def test_it_is_the_same_again() -> None:
    one = event(
        1,
        arms=(("layer", "experiment", "arm"),),
        sale=("lease", 7, "click", 12.5),
        races=(("race", "first"),),
        position=3,
        value=0.1,
        shared_by='"ü\x01\U0001f600',
        attributed="token",
    )
    again = StoredEvent.from_json(one.to_json())
    assert again == one
    assert hash(again) == hash(one)


def test_what_is_not_said_takes_no_room() -> None:
    assert set(orjson.loads(event(1).to_json())) == {
        *("event_id", "event_type", "timestamp", "received_at", "subject_id"),
        *("user_id", "item_id"),
    }


def test_a_field_of_another_version_is_no_event() -> None:
    text = event(1).to_json().replace(b'"item_id"', b'"thing_id"')
    with pytest.raises(ValidationError, match="thing_id"):
        StoredEvent.from_json(text)

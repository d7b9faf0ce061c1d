"""Stored events for tests."""

from __future__ import annotations

from typing import Any

from qianmian.events.event import StoredEvent

NOW = 1_512_432_000.0  # 2017-12-05


def event(number: int, subject: str = "u1", **fields: Any) -> StoredEvent:
    """The event `e<number>`, a click a second after the one before."""
    given: dict[str, Any] = {
        "event_id": f"e{number}",
        "event_type": "click",
        "timestamp": NOW + number,
        "received_at": NOW + number,
        "subject_id": subject,
        "user_id": subject,
        "item_id": "i1",
    }
    return StoredEvent(**{**given, **fields})

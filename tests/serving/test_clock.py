"""The clock of the service."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from serving.clock import Clock, ClockSettings

AT = datetime(2017, 12, 5, tzinfo=UTC)


def clock(mode: str, machine: list[float]) -> Clock:
    settings = ClockSettings(mode=mode, at=None if mode == "system" else AT)  # type: ignore[arg-type]
    return Clock.start(settings, time=lambda: machine[0])


@pytest.mark.parametrize(
    ("mode", "then"),
    [("system", 1060.0), ("fixed", AT.timestamp()), ("replay", AT.timestamp() + 60)],
)
def test_a_minute_later(mode: str, then: float) -> None:
    machine = [1000.0]
    one = clock(mode, machine)
    machine[0] = 1060.0
    assert one.now() == then


@pytest.mark.parametrize("settings", [{"mode": "fixed"}, {"mode": "system", "at": AT}])
def test_moment_and_mode_belong_together(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="expected `at` with mode fixed or replay"):
        ClockSettings(**settings)  # type: ignore[arg-type]

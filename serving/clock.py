"""The clock of the service: a setting, so that data of a past year can be served at any moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Literal, Self

from pydantic import AwareDatetime, model_validator

from qianmian.config import ConfigModel
from qianmian.errors import FieldError


class ClockSettings(ConfigModel):
    """What time the service believes it is."""

    mode: Literal["system", "fixed", "replay"] = "system"
    """`system`: the machine's; `fixed`: stands at `at`; `replay`: starts at `at` and goes on."""
    at: AwareDatetime | None = None
    """The moment of `fixed` and `replay`, with its UTC offset."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.at is None) != (self.mode == "system"):
            raise ValueError("expected `at` with mode fixed or replay, and only then")
        return self


@dataclass(frozen=True, slots=True)
class Clock:
    """Gives the moment in seconds since the epoch (UTC)."""

    settings: ClockSettings
    _shift: float
    _time: Callable[[], float]

    @classmethod
    def start(cls, settings: ClockSettings, time: Callable[[], float] = time) -> Clock:
        """Start the clock; `time` is the machine's."""
        shift = settings.at.timestamp() - time() if settings.at else 0.0
        return cls(settings, shift, time)

    def now(self) -> float:
        """Return seconds since the epoch."""
        if self.settings.mode == "fixed" and self.settings.at is not None:
            return self.settings.at.timestamp()
        return self._time() + self._shift

    def as_text(self) -> str:
        """Return what a clock of another process is started with to show the same time.

        >>> Clock.start(parse_clock("2017-12-05")).as_text()
        '2017-12-05T00:00:00+00:00'
        """
        if self.settings.mode == "system":
            return "system"
        now = datetime.fromtimestamp(self.now(), tz=UTC).isoformat()
        return now if self.settings.mode == "fixed" else f"replay:{now}"


def parse_clock(text: str) -> ClockSettings:
    """Read a clock as a command line gives it: `system`, a moment, or `replay:` and a moment.

    >>> parse_clock("replay:2017-12-05T12:00").at.isoformat()
    '2017-12-05T12:00:00+00:00'
    >>> parse_clock("noon")
    Traceback (most recent call last):
    qianmian.errors.FieldError: clock='noon': expected system, a moment, or replay:MOMENT; ...
    """
    if text == "system":
        return ClockSettings()
    mode, moment = ("replay", text[7:]) if text.startswith("replay:") else ("fixed", text)
    try:
        at = parse_moment(moment)
    except FieldError as error:
        raise FieldError(
            "clock", text, "system, a moment, or replay:MOMENT", error.remedy
        ) from error
    return ClockSettings.model_validate({"mode": mode, "at": at})


def parse_moment(text: str, *, field: str = "at") -> datetime:
    """Read an ISO 8601 moment; without an offset it is UTC.

    Raises:
        FieldError: it is not one.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FieldError(
            field, text, "an ISO 8601 moment", "write it as 2017-12-05T12:00:00Z"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

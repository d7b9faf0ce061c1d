"""The clock of the service: a setting, so that data of a past year can be served at any moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Literal, Self

from pydantic import AwareDatetime, model_validator

from qianmian.config import ConfigModel


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

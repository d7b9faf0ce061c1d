"""What the arms of a race have earned so far: sums that fade with age and survive restarts.

`trials` counts pages that the arm led and that somebody saw; the others sum what came of those
pages, whatever the goal of the race is now. Sums fade together by the half-life of the race, so
their quotients stay what they were while nothing happens, and only their certainty goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Self

import orjson

from qianmian.contracts.events import EventType

#: What is summed of which event.
REWARDS: Final = {
    EventType.CLICK.value: "click",
    EventType.CART.value: "cart",
    EventType.ORDER.value: "order",
}


@dataclass(frozen=True, slots=True)
class ArmSums:
    """Faded sums of one arm; `squares` sums the squared values of orders."""

    trials: float = 0.0
    click: float = 0.0
    cart: float = 0.0
    order: float = 0.0
    value: float = 0.0
    squares: float = 0.0

    def faded(self, factor: float) -> ArmSums:
        """Return all sums times a factor."""
        return ArmSums(
            self.trials * factor,
            self.click * factor,
            self.cart * factor,
            self.order * factor,
            self.value * factor,
            self.squares * factor,
        )

    def tried(self) -> ArmSums:
        """Return the sums after one more page."""
        return replace(self, trials=self.trials + 1.0)

    def rewarded(self, event_type: str, value: float) -> ArmSums:
        """Return the sums after an event that came of a page."""
        name = REWARDS.get(event_type)
        if name is None:
            return self
        sums = replace(self, **{name: getattr(self, name) + 1.0})
        if event_type == EventType.ORDER:
            sums = replace(sums, value=sums.value + value, squares=sums.squares + value * value)
        return sums


@dataclass(frozen=True, slots=True)
class RaceState:
    """All arms of one race, as of `at` (seconds since the epoch); `version` counts changes."""

    version: int = 0
    at: float = 0.0
    arms: Mapping[str, ArmSums] = field(default_factory=dict)

    def of(self, arm: str) -> ArmSums:
        """Return the sums of an arm, of one never seen too."""
        return self.arms.get(arm, ArmSums())

    def faded(self, now: float, half_life: float) -> Self:
        """Return the state as of a moment; one of the past changes nothing."""
        if now <= self.at:
            return self
        factor = 0.5 ** ((now - self.at) / half_life) if self.arms else 1.0
        arms = {arm: sums.faded(factor) for arm, sums in self.arms.items()}
        return replace(self, at=now, arms=arms)

    def with_arm(self, arm: str, sums: ArmSums) -> Self:
        """Return the state with other sums of one arm."""
        return replace(self, arms={**self.arms, arm: sums})

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, text: bytes) -> RaceState:
        """Read a kept state."""
        given = orjson.loads(text)
        return cls(
            given["version"],
            given["at"],
            {arm: ArmSums(**sums) for arm, sums in given["arms"].items()},
        )

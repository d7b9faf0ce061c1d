"""Where the races of a venue stand: the numbers of `qianmian venue racing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from qianmian.racing.bandit import posteriors, propensities
from qianmian.racing.counting import race_key
from qianmian.racing.schema import RaceFile
from qianmian.racing.state import RaceState

_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class ArmStanding:
    """One arm of a race at a moment; sums are faded by age.

    `brings` is what a page that it leads is believed to bring of the goal, `share` the part of the
    pages that it leads.
    """

    race: str
    goal: str
    version: int
    arm: str
    trials: float
    rewards: float
    brings: float
    share: float

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def standings(
    venue_id: str, races: Mapping[str, RaceFile], states: Mapping[str, RaceState], now: float
) -> list[ArmStanding]:
    """Return every arm of a venue's races, the leading ones first within each race."""
    rows: list[ArmStanding] = []
    for name, file in races.items():
        kept = states.get(race_key(venue_id, name), RaceState())
        beliefs = posteriors(kept, file.arms, file.goal)
        shares = propensities(beliefs, file.floor)
        faded = kept.faded(now, file.half_life_hours * _HOUR)
        rows += sorted(
            (
                ArmStanding(
                    race=name,
                    goal=file.goal.value,
                    version=kept.version,
                    arm=arm,
                    trials=faded.of(arm).trials,
                    rewards=getattr(faded.of(arm), file.goal.value),
                    brings=belief.mean,
                    share=share,
                )
                for arm, belief, share in zip(file.arms, beliefs, shares, strict=True)
            ),
            key=lambda standing: -standing.share,
        )
    return rows

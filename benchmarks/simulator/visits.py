"""When simulated shoppers come: rates and hours as the real ones had them.

Shapes: `U` users, `S` sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.simulator.taste import DAY, Float64, Int64, Purchases

_HOURS = 7 * 24


@dataclass(frozen=True)
class Visits:
    """Who comes how often, at which hours of the week, and how much is bought at a time."""

    rates: Float64  # [U] visits a day
    hours: Float64  # [168] share of visits by local hour of the week, Monday first
    lines: Int64  # lines of each real basket
    zone: ZoneInfo

    @classmethod
    def fit(cls, purchases: Purchases, *, time_zone: str) -> Visits:
        """Count baskets by user and by local hour of the week."""
        zone = ZoneInfo(time_zone)
        _, first, lines = np.unique(purchases.basket, return_index=True, return_counts=True)
        at, users = purchases.at[first], purchases.users[first]
        days = max(float(np.ptp(purchases.at)) / DAY, 1.0)
        hours = np.bincount([_hour_of_week(t, zone) for t in at.tolist()], minlength=_HOURS) + 0.1
        return cls(
            rates=np.bincount(users, minlength=len(purchases.user_ids)) / days,
            hours=hours / hours.sum(),
            lines=lines.astype(np.int64),
            zone=zone,
        )

    def draw(
        self, count: int, *, start: float, end: float, rng: np.random.Generator
    ) -> tuple[Int64, Float64]:
        """Users [S] and times [S] of visits in [start, end), by time."""
        slots = np.arange(start, end, 3600.0)
        weights = np.array([self.hours[_hour_of_week(t, self.zone)] for t in slots.tolist()])
        at = rng.choice(slots, count, p=weights / weights.sum()) + rng.uniform(0, 3600, count)
        at = np.sort(np.clip(at, start, end - 1.0))
        users = rng.choice(len(self.rates), count, p=self.rates / self.rates.sum())
        return users.astype(np.int64), at


def _hour_of_week(at: float, zone: ZoneInfo) -> int:
    local = datetime.fromtimestamp(at, tz=UTC).astimezone(zone)
    return local.weekday() * 24 + local.hour

"""Pacing: how likely a campaign takes part in an auction, so that its budget lasts its flight.

The plan of a campaign is a curve from its start to its end. A controller looks at what was
committed (charged, or expected of what was shown) each few seconds and sets the *participation*:
the probability with which the campaign enters an auction (probabilistic throttling; Agarwal et al.,
"Budget pacing for targeted online advertisements at LinkedIn", KDD 2014). It learns what the
campaign would spend a second if it always took part, and asks for as much as closes the gap to the
plan within a horizon. It cannot exceed the budget: that is the ledger's work.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

#: Participation of a campaign of which nothing is known yet.
OPENING: Final = 0.01
_HOUR: Final = 3_600.0
_DAY_HOURS: Final = 24


class SpendPlan:
    """The share of a budget that should be committed by a moment.

    Straight where no hours are given, else in proportion to the weight of each hour (UTC).
    """

    def __init__(self, *, starts_at: float, ends_at: float, hours: Sequence[float] = ()) -> None:
        self.starts_at = starts_at
        self.ends_at = ends_at
        self._knots = [starts_at]
        self._sums = [0.0]
        at = starts_at
        while at < ends_at:
            until = min((at // _HOUR + 1) * _HOUR, ends_at) if hours else ends_at
            weight = hours[int(at // _HOUR) % _DAY_HOURS] if hours else 1.0
            self._knots.append(until)
            self._sums.append(self._sums[-1] + weight * (until - at))
            at = until

    def share(self, now: float) -> float:
        """Return the share, 0 before the flight and 1 after it.

        >>> SpendPlan(starts_at=0.0, ends_at=100.0).share(25.0)
        0.25
        """
        if now <= self.starts_at:
            return 0.0
        if now >= self.ends_at or not self._sums[-1]:
            return 1.0
        at = bisect_right(self._knots, now) - 1
        inside = (now - self._knots[at]) / (self._knots[at + 1] - self._knots[at])
        reached = self._sums[at] + inside * (self._sums[at + 1] - self._sums[at])
        return reached / self._sums[-1]


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of one controller, as the ledger keeps it; amounts in micros.

    `appetite` is what the campaign would commit a second if it always took part, None until known.
    """

    participation: float = OPENING
    appetite: float | None = None
    committed: int = 0
    at: float | None = None

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Pace:
        """Read a state that the ledger kept."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class PaceController:
    """Turns what was committed into the next participation.

    `horizon`: seconds within which a gap to the plan is closed. `memory`: seconds after which what
    was seen of the appetite counts half. `ceiling`: at most so many times the plan's own rate.
    """

    horizon: float = 300.0
    memory: float = 120.0
    ceiling: float = 3.0
    least: float = 1e-4
    rise: float = 2.0

    def step(self, pace: Pace, *, plan: SpendPlan, budget: int, committed: int, now: float) -> Pace:
        """Return the next state; nothing moves within the same moment, nor before the flight.

        After a clock was set back the next step measures from the new moment.
        """
        if now < plan.starts_at:
            return Pace(committed=committed, at=now)
        if pace.at is None or now <= pace.at:
            return replace(pace, committed=committed, at=now)
        seconds = now - pace.at
        seen = max(committed - pace.committed, 0) / seconds / max(pace.participation, self.least)
        appetite = seen
        if pace.appetite is not None:
            keep = 0.5 ** (seconds / self.memory)
            appetite = keep * pace.appetite + (1.0 - keep) * seen
        planned = (plan.share(now + self.horizon) - plan.share(now)) * budget
        gap = plan.share(now + self.horizon) * budget - committed
        wanted = min(max(gap, 0.0), self.ceiling * planned) / self.horizon
        if now >= plan.ends_at or committed >= budget or not wanted:
            participation = 0.0
        elif not appetite:
            participation = min(max(pace.participation, self.least) * self.rise, 1.0)
        else:
            most = max(pace.participation, self.least) * self.rise
            participation = min(max(wanted / appetite, self.least), most, 1.0)
        return Pace(participation, appetite, committed, now)

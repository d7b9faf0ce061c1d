"""A venue as the request path needs it: period, phases, objective and blocks, all resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from qianmian.campaigns.places import SponsoredFile
from qianmian.contracts.api import DEFAULT_BLOCK
from qianmian.racing.schema import RaceFile
from qianmian.retrieval.overrides import SourceOverrides
from qianmian.venues.blocks import BlockKind
from qianmian.venues.conditions import Condition
from qianmian.venues.eligibility import EligibilityFile
from qianmian.venues.fallback import FallbackFile
from qianmian.venues.pool import PoolFile
from qianmian.venues.rules import BlockRules, Rules

UPCOMING: Final = "upcoming"
OPEN: Final = "open"
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the period, its weights and rules; `starts_at` in seconds since the epoch (UTC)."""

    name: str
    starts_at: float
    objective: Mapping[str, float]
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Block:
    """Defaults of one block."""

    title: str
    page_size: int
    kind: BlockKind = BlockKind.FEED
    sources: SourceOverrides = field(default_factory=SourceOverrides)
    filter: Condition | None = None
    audience: Condition | None = None
    rules: BlockRules = field(default_factory=BlockRules)


@dataclass(frozen=True, slots=True)
class Venue:
    """A page of a sales event. A venue without a period is always open.

    Times are seconds since the epoch (UTC); the period is `starts_at <= now < ends_at`.
    """

    id: str
    name: str
    kind: str
    starts_at: float | None
    ends_at: float | None
    objective: Mapping[str, float]
    phases: tuple[Phase, ...]
    blocks: Mapping[str, Block]
    time_zone: str = "UTC"
    pool: PoolFile | None = None  # None: the data set's rows
    eligibility: EligibilityFile = field(default_factory=EligibilityFile)
    fallback: FallbackFile = field(default_factory=FallbackFile)
    rules: Rules = field(default_factory=Rules)
    sponsored: Mapping[str, SponsoredFile] = field(default_factory=dict)  # by block
    racing: Mapping[str, RaceFile] = field(default_factory=dict)  # by name

    def phase_at(self, now: float) -> Phase:
        """Return the phase at a moment: `upcoming` before the period, `ended` after it.

        Inside the period it is the last phase that has begun, or `open` where there is none.
        """
        if self.starts_at is not None and now < self.starts_at:
            return Phase(UPCOMING, float("-inf"), self.objective, self.rules)
        if self.ends_at is not None and now >= self.ends_at:
            return Phase(ENDED, self.ends_at, self.objective, self.rules)
        for phase in reversed(self.phases):
            if phase.starts_at <= now:
                return phase
        return Phase(OPEN, self.starts_at or float("-inf"), self.objective, self.rules)

    def block(self, block_id: str) -> Block:
        """Return the defaults of a block; a block nobody described is like the main one."""
        return self.blocks.get(block_id) or self.blocks[DEFAULT_BLOCK]

"""What an operator may write in a venue file; `qianmian.venues.book` turns it into a venue.

`configs/venues/default.yaml` holds for every venue, `configs/venues/<dataset>/<venue id>.yaml` for
one. Period, name and pool come from the data set unless the file gives them; a venue that the data
set does not know needs a name and a pool. Each subject has a module of its own beside this one.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Annotated

from pydantic import Field, StringConstraints

from qianmian.campaigns.places import SponsoredFile
from qianmian.config import ConfigModel, Finding
from qianmian.config.document import Location
from qianmian.config.time_zone import TimeZone
from qianmian.contracts import columns as c
from qianmian.contracts.api import MAX_ID
from qianmian.contracts.objective import Term
from qianmian.racing.schema import RaceFile
from qianmian.venues.blocks import BlockFile
from qianmian.venues.eligibility import EligibilityFile
from qianmian.venues.fallback import FallbackFile
from qianmian.venues.objective import Objective
from qianmian.venues.pool import PoolFile
from qianmian.venues.rules import Rules

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
VenueId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]+$", max_length=MAX_ID)]


class PhaseFile(ConfigModel):
    """One phase: warm-up (蓄势), opening, peak (爆发), sprint (冲刺), encore (返场) or your own."""

    name: Word
    """What answers call the phase."""
    starts_at: datetime
    """When it begins, with its UTC offset unless the venue names a time zone; it lasts until the
    next one or the venue's end."""
    objective: Objective = Field(default_factory=dict)
    """Weights that differ from the venue's while the phase lasts."""
    rules: Rules = Rules()
    """Rules of the page that differ from the venue's while the phase lasts."""


class VenueFile(ConfigModel):
    """A venue file; everything may be left out."""

    id: VenueId | None = None
    """Id of the venue; without it the file's name is the id."""
    name: str | None = None
    """What shoppers call the venue."""
    kind: str | None = None
    """Sort of the sales event."""
    time_zone: TimeZone | None = None
    """Zone of every moment in the file that has no UTC offset of its own."""
    starts_at: datetime | None = None
    """First moment of the period."""
    ends_at: datetime | None = None
    """First moment after the period."""
    objective: Objective = Field(default_factory=dict)
    """Weight of each term in the score of an item."""
    phases: tuple[PhaseFile, ...] = ()
    """Parts of the period, in the order of time."""
    pool: PoolFile | None = None
    """Items that the venue may show."""
    eligibility: EligibilityFile = EligibilityFile()
    """Which of them a shopper may see."""
    blocks: dict[Word, BlockFile] = Field(default_factory=dict)
    """Blocks by their id."""
    rules: Rules = Rules()
    """How the page is laid out."""
    fallback: FallbackFile = FallbackFile()
    """How the plainer pages are made."""
    sponsored: dict[Word, SponsoredFile] = Field(default_factory=dict)
    """Places that are for sale, by block."""
    racing: dict[Word, RaceFile] = Field(default_factory=dict)
    """Races between blocks or creatives, by name."""

    def moment(self, value: datetime) -> datetime:
        """Return a moment of the file with its offset; a bare one is of the venue's time zone."""
        if value.tzinfo is None and self.time_zone is not None:
            return value.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone))
        return value

    def faults(self) -> Iterator[Finding]:
        """Return what is wrong between the keys of the file: where, and what."""
        bare = False
        for place, moment in self._moments():
            if moment is not None and self.moment(moment).tzinfo is None:
                bare = True
                yield place, f"={moment.isoformat()}: expected a UTC offset, or time_zone to be set"
        if bare:
            return
        if self.starts_at and self.ends_at:
            starts, ends = self.moment(self.starts_at), self.moment(self.ends_at)
            if starts >= ends:
                yield ("ends_at",), f"={ends.isoformat()}: expected starts_at before ends_at"
        for index, (before, phase) in enumerate(pairwise(self.phases), start=1):
            if self.moment(phase.starts_at) <= self.moment(before.starts_at):
                wanted = f"expected phases in the order of time, so later than {before.name!r}"
                said = f"={phase.starts_at.isoformat()}: {wanted}"
                yield ("phases", index, "starts_at"), said

    def weighing_margin(self) -> Iterator[Finding]:
        """Return each weight of the margin, as a fault for data that has none."""
        places: list[tuple[Location, Objective]] = [(("objective",), self.objective)]
        places += [
            (("phases", index, "objective"), phase.objective)
            for index, phase in enumerate(self.phases)
        ]
        for place, objective in places:
            if weight := objective.get(Term.MARGIN):
                wanted = "expected no such weight: the data set's items have no numeric column"
                yield (*place, Term.MARGIN.value), f"={weight:g}: {wanted} {c.MARGIN!r}"

    def _moments(self) -> Iterator[tuple[Location, datetime | None]]:
        yield ("starts_at",), self.starts_at
        yield ("ends_at",), self.ends_at
        for index, phase in enumerate(self.phases):
            yield ("phases", index, "starts_at"), phase.starts_at

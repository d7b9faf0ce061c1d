"""What an operator may write in a venue file; `qianmian.venues.book` turns it into a venue.

`configs/venues/default.yaml` holds for every venue, `configs/venues/<dataset>/<venue id>.yaml` for
one; the period and name come from the data set unless the file gives them.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from qianmian.config import ConfigModel
from qianmian.contracts.api import MAX_PAGE_SIZE
from qianmian.contracts.events import PREDICTED_ACTIONS, EventType

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]


def _predicted(objective: dict[EventType, float]) -> dict[EventType, float]:
    for action in objective:
        if action not in PREDICTED_ACTIONS:
            raise ValueError(f"expected actions among {', '.join(PREDICTED_ACTIONS)}, not {action}")
    if objective and not any(objective.values()):
        raise ValueError("expected at least one weight above 0")
    return objective


#: Weight of each predicted action in the score of an item. What a narrower scope (venue, phase,
#: experiment arm) leaves out, it takes from the wider one.
Objective = Annotated[dict[EventType, Weight], AfterValidator(_predicted)]


class PhaseFile(ConfigModel):
    """One phase: warm-up (蓄势), opening, peak (爆发), sprint (冲刺), encore (返场) or your own."""

    name: Word
    """What answers call the phase."""
    starts_at: AwareDatetime
    """When it begins, with its UTC offset; it lasts until the next one or the venue's end."""
    objective: Objective = Field(default_factory=dict)
    """Weights that differ from the venue's while the phase lasts."""


class BlockFile(ConfigModel):
    """What a block of this venue is unless a request says otherwise."""

    title: str = ""
    """Heading of the block."""
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] = 20
    """Items of a page."""


class VenueFile(ConfigModel):
    """A venue file; everything may be left out."""

    name: str | None = None
    """What shoppers call the venue."""
    kind: str | None = None
    """Sort of the sales event."""
    starts_at: AwareDatetime | None = None
    """First moment of the period."""
    ends_at: AwareDatetime | None = None
    """First moment after the period."""
    objective: Objective = Field(default_factory=dict)
    """Weight of each action in the score of an item."""
    phases: tuple[PhaseFile, ...] = ()
    """Parts of the period, in the order of time."""
    blocks: dict[Word, BlockFile] = Field(default_factory=dict)
    """Blocks by their id."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise ValueError("expected starts_at before ends_at")
        starts = [phase.starts_at for phase in self.phases]
        if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
            raise ValueError("expected phases in the order of time, each later than the one before")
        return self

"""How a block may be laid out: diversity, windows, quotas, pins, exploration.

What an operator may write of it.

`rules` of a venue file holds for every block of the venue, `rules` of a phase while it lasts,
`rules` of a block for that block. `serving.feed.rerank` keeps them. Where not all can hold, they
yield in one order: windows first, the last listed before the others; then `at_least` quotas; then
`at_most` quotas. Diversity is a preference and never in the way. What may be shown at all, that
no item stands twice on a page, and pins never yield.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from qianmian.config import ConfigModel
from qianmian.contracts.api import MAX_ID, MAX_SHOWN
from qianmian.errors import suggest
from qianmian.retrieval.sources import SOURCES
from qianmian.venues.conditions import ItemCondition, Kind, item_vocabulary

#: Slots that a window or the memory of diversity can span; page tokens carry that many items.
LONGEST_WINDOW: Final = 50
LONGEST_MEMORY: Final = 24
#: Below it diversity would decide between equal scores only.
LEAST_STRENGTH: Final = 0.01
MAX_RULES: Final = 16

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Count = Annotated[int, Field(ge=0, le=MAX_SHOWN)]
Position = Annotated[int, Field(ge=1, le=MAX_SHOWN)]


def _categorical(name: str, info: ValidationInfo) -> str:
    vocabulary = item_vocabulary(info)
    if vocabulary is not None and vocabulary.kinds.get(name) is not Kind.TEXT:
        known = [column for column, kind in vocabulary.kinds.items() if kind is Kind.TEXT]
        raise ValueError(
            f"expected a column of {vocabulary.about} that holds a text{suggest(name, known)}"
        )
    return name


#: A categorical item attribute: brand, category, shop or any other of the data set.
Attribute = Annotated[Name, AfterValidator(_categorical)]


def _proposing(name: str) -> str:
    if name not in SOURCES:
        raise ValueError(f"expected one of {', '.join(SOURCES)}")
    return name


SourceName = Annotated[str, AfterValidator(_proposing)]


class DiversityMethod(StrEnum):
    """How likeness to what stands before a slot is weighed; likeness is that of item vectors."""

    MMR = "mmr"
    """Maximal marginal relevance: against the most alike item."""
    DPP = "dpp"
    """Determinantal point process, greedy: against all of them together."""


class Diversity(ConfigModel):
    """Prefers items unlike those just before them."""

    method: DiversityMethod = DiversityMethod.DPP
    """How likeness is weighed."""
    strength: Annotated[float, Field(ge=0, le=0.99)] = 0.3
    """0 orders by score alone; near 1 the score hardly counts."""
    window: Annotated[int, Field(ge=1, le=LONGEST_MEMORY)] = 10
    """How many slots back likeness counts, pages before this one included."""

    @model_validator(mode="after")
    def _felt(self) -> Self:
        if 0 < self.strength < LEAST_STRENGTH:
            raise ValueError(f"expected strength 0 or {LEAST_STRENGTH} .. 0.99")
        return self


class Window(ConfigModel):
    """At most so many items of one value of an attribute in any so many consecutive slots.

    It runs on over the next pages of a block. Items whose value is unknown are free.
    """

    attribute: Attribute
    """Categorical item attribute: brand, category, shop or any other of the data set."""
    at_most: Annotated[int, Field(ge=1, le=LONGEST_WINDOW)]
    """Items of one value."""
    within: Annotated[int, Field(ge=2, le=LONGEST_WINDOW)]
    """Consecutive slots."""
    across_blocks: bool = False
    """Whether it runs on from the end of the block before, as a page is read."""

    @model_validator(mode="after")
    def _narrower(self) -> Self:
        if self.at_most >= self.within:
            raise ValueError("expected at_most < within")
        return self


class Quota(ConfigModel):
    """How many items of one sort each page shows: of the venue's rules, over all its blocks."""

    at_least: Count | None = None
    """At least so many."""
    at_most: Count | None = None
    """At most so many."""
    attribute: Attribute | None = None
    """Sort by this categorical item attribute, having one of `values`."""
    values: Annotated[tuple[Name, ...], Field(max_length=500)] = ()
    """Values of `attribute`."""
    source: SourceName | None = None
    """Sort by what proposed the item: two_tower, repeat, neighbours, factors, trending, new,
    unseen or fallback."""
    items: ItemCondition | None = None
    """Sort by this condition."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("expected at_least <= at_most")
        sorts = (self.attribute, self.source, self.items)
        if sum(sort is not None for sort in sorts) != 1:
            raise ValueError("expected one of attribute with values, source, and items")
        if (self.attribute is None) != (not self.values):
            raise ValueError("expected attribute and values together")
        return self


class Exploration(ConfigModel):
    """Now and then shows an item of which little is known, near in score to the one it displaces.

    The chance is written into the answer and its token as the propensity. The expected loss of
    score at a slot is at most `share * max_gap` of the displaced item's score.
    """

    share: Annotated[float, Field(ge=0, le=0.5)]
    """Chance that a slot which may explore does; 0 turns exploration off."""
    positions: Annotated[tuple[Position, ...], Field(max_length=100)] = ()
    """Slots of the block that may explore; without it all may, from `first_position` on."""
    first_position: Position = 4
    """First slot that may explore."""
    new_within_days: Annotated[float, Field(gt=0, le=3650)] | None = 30.0
    """Candidates appeared in the shop within this time, or have no event yet ..."""
    impressions_below: Annotated[int, Field(ge=1)] | None = 50
    """... or have fewer logged impressions in 28 days."""
    max_gap: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the displaced item's score that may be lost."""
    candidates: Annotated[int, Field(ge=1, le=50)] = 5
    """Items that one slot draws from."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.new_within_days is None and self.impressions_below is None:
            raise ValueError("expected new_within_days, impressions_below or both")
        return self


class Pin(ConfigModel):
    """An item in a fixed place; it is skipped while it may not be shown."""

    item_id: Name
    """The item."""
    position: Position
    """Its place in the block, counted over all pages, from 1."""


class Rules(ConfigModel):
    """How blocks are laid out. What a narrower scope leaves out, it takes from the wider one."""

    diversity: Diversity | None = None
    """Prefers items unlike those just before them."""
    windows: Annotated[tuple[Window, ...], Field(max_length=MAX_RULES)] | None = None
    """Most items of one value in so many slots; the last listed yields first."""
    quotas: Annotated[tuple[Quota, ...], Field(max_length=MAX_RULES)] | None = None
    """How many items of one sort a page shows; the last listed yields first."""
    exploration: Exploration | None = None
    """Shows items of which little is known."""

    def completed_by(self, wider: Rules) -> Rules:
        """Return these rules, completed by those of a wider scope."""
        own = {
            name: value for name in Rules.model_fields if (value := getattr(self, name)) is not None
        }
        return wider.model_copy(update=own) if own else wider


class BlockRules(Rules):
    """Rules of one block; its `quotas` hold besides those of the venue."""

    pins: Annotated[tuple[Pin, ...], Field(max_length=100)] = ()
    """Items in fixed places."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for what in ("position", "item_id"):
            values = [getattr(pin, what) for pin in self.pins]
            if len(set(values)) < len(values):
                raise ValueError(f"expected each {what} once among pins")
        return self

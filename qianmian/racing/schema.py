"""What an operator may write of a race (赛马) between the blocks or the creatives of a venue.

`racing` of a venue file holds races by name:

    racing:
      page_order: {blocks: [main, discover], goal: click}
      banner: {block: main, creatives: [snow, gifts], goal: order, floor: 0.1}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, model_validator

from qianmian.config import ConfigModel

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
MOST_ARMS: Final = 8


class Goal(StrEnum):
    """What the arms of a race compete in, for each page that one of them led."""

    CLICK = "click"
    CART = "cart"
    ORDER = "order"
    VALUE = "value"
    """The value of orders."""


class RaceFile(ConfigModel):
    """One race: blocks for the first place of the page, or creatives for the face of a block."""

    blocks: Annotated[tuple[Name, ...], Field(max_length=MOST_ARMS)] = ()
    """Blocks that compete for the order in which the page shows them."""
    block: Name | None = None
    """With `creatives`: the block that shows one of them."""
    creatives: Annotated[tuple[Name, ...], Field(max_length=MOST_ARMS)] = ()
    """Creatives that compete to be shown."""
    goal: Goal = Goal.CLICK
    """What counts: clicks, carts or orders that come of the page, or the value of its orders."""
    floor: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Least share of pages that each arm leads, however it fares."""
    half_life_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    """Age at which what was seen counts half."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of what competes."""
        return self.blocks or self.creatives

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if bool(self.blocks) == bool(self.creatives):
            raise ValueError("expected either blocks, or creatives with their block")
        if bool(self.creatives) != (self.block is not None):
            raise ValueError("expected block with creatives, and only with them")
        if len(self.arms) < 2 or len(set(self.arms)) < len(self.arms):  # noqa: PLR2004  a race
            raise ValueError("expected two or more different arms")
        if self.floor * len(self.arms) > 1:
            raise ValueError(f"expected floor <= 1 / {len(self.arms)}, one share for each arm")
        return self


def drawn_twice(racing: Mapping[str, RaceFile]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Return the blocks that two races draw, for what leads by one would not lead by the other.

    Blocks race for their place, and creatives for the face of a block; the two do not meet.
    """
    drawn: dict[tuple[bool, str], str] = {}
    for name, race in racing.items():
        for at, block in enumerate(race.blocks or (race.block or "",)):
            other = drawn.setdefault((bool(race.blocks), block), name)
            if other != name:
                inner: tuple[str | int, ...] = ("blocks", at) if race.blocks else ("block",)
                wanted = f"expected a block that no other race draws; {other!r} does"
                yield ("racing", name, *inner), f"={block!r}: {wanted}"

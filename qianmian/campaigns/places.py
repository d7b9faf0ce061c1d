"""The sponsored places of a block, as a venue's file gives them (`sponsored: {block: ...}`)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

from qianmian.config import ConfigModel
from qianmian.contracts.api import MAX_PAGE_SIZE

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Place = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)]


def _ascending(places: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(places)):
        raise ValueError("expected positions in rising order, each once")
    return places


class SponsoredFile(ConfigModel):
    """The places of a block that are for sale."""

    positions: Annotated[tuple[Place, ...], Field(min_length=1), AfterValidator(_ascending)]
    """Places in the block, counted over its pages, from 1."""
    floor: Share = 0.25
    """A sponsored item must be at least this share as likely to bring a click (with cps: an order)
    as the middle organic item of the page."""
    reserve_price: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Least worth of 1000 impressions (eCPM) of a place; below it the place stays organic."""

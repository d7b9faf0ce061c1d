"""What an operator may write of a block: kind, size, sources, filter and audience."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.contracts.api import MAX_PAGE_SIZE
from qianmian.retrieval.overrides import SourceOverrides
from qianmian.venues.conditions import Audience, ItemCondition
from qianmian.venues.rules import BlockRules


class BlockKind(StrEnum):
    """What a block is for; it decides what is proposed and in which order it stands."""

    FEED = "feed"
    """Ranked for the shopper."""
    BEST_SELLERS = "best_sellers"
    """The venue's most popular items, in that order, for everybody alike (榜单)."""
    NEW_ARRIVALS = "new_arrivals"
    """What appeared last or nobody acted on yet, ranked for the shopper (新品)."""
    COUPONS = "coupons"
    """Items with a coupon of the venue, ranked for the shopper (领券)."""
    BUY_AGAIN = "buy_again"
    """What the shopper bought before, ranked for the shopper (回购)."""


class BlockFile(ConfigModel):
    """What a block of this venue is unless a request says otherwise."""

    title: str = ""
    """Heading of the block."""
    kind: BlockKind = BlockKind.FEED
    """What it is for."""
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] = 20
    """Items of a page."""
    sources: SourceOverrides = SourceOverrides()
    """Candidates that each source may propose."""
    filter: ItemCondition | None = None
    """What its items must meet."""
    audience: Audience | None = None
    """Who sees the block; for others it is empty."""
    rules: BlockRules = BlockRules()
    """How it is laid out, where it differs from the venue."""

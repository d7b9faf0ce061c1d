"""What an operator may write of a venue's pool: a list, a query over item features, or both."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from qianmian.config import ConfigModel
from qianmian.contracts.api import MAX_ID
from qianmian.venues.conditions import ItemCondition

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]


class PoolFile(ConfigModel):
    """The items that the venue may show; it takes the place of the data set's rows."""

    items: Annotated[tuple[ItemId, ...], Field(max_length=100_000)] = ()
    """Items by id, in the order in which they stand when nothing is known of their popularity."""
    query: ItemCondition | None = None
    """Items that meet this are in the pool, too."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.items and self.query is None:
            raise ValueError("expected items, query or both")
        return self

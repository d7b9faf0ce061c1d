"""Quotas of candidate sources that differ from the service's own: in a block, in an experiment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.retrieval.sources import LONGEST, SourceQuotas

Quota = Annotated[int, Field(ge=0, le=LONGEST)]


class SourceOverrides(ConfigModel):
    """Candidates that each source may propose; a source left out keeps its own quota."""

    repeat: Quota | None = None
    """Items the shopper acted on before."""
    neighbours: Quota | None = None
    """Items that go with what the shopper acted on."""
    factors: Quota | None = None
    """Items that shoppers of like choices act on."""
    two_tower: Quota | None = None
    """Items nearest to the shopper's vector."""
    trending: Quota | None = None
    """Items that many act on now."""
    new: Quota | None = None
    """Items that appeared last."""
    unseen: Quota | None = None
    """Items that nobody acted on yet, by what the shopper likes of their attributes."""

    def apply(self, quotas: SourceQuotas) -> SourceQuotas:
        """Return the quotas with these changes."""
        return SourceQuotas(**quotas.model_dump() | self.model_dump(exclude_none=True))

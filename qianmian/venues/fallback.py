"""What an operator may write of a venue's plainer pages, when a model or a store is missing.

The ladder: the full path; the order of retrieval where the ranker fails; the venue's popular items,
of the shopper's segment if one is named, where retrieval fails; the order of the pool where nothing
is known of popularity.
"""

from __future__ import annotations

from qianmian.config import ConfigModel


class FallbackFile(ConfigModel):
    """How the plainer pages of a venue are made."""

    segment: str | None = None
    """User tag by whose values popularity is kept apart, such as `age`; null: of all shoppers."""

"""Parameters of the feed: what the service is configured with and what an experiment may change."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.releases.aliases import AliasName
from qianmian.releases.store import LIVE
from qianmian.retrieval.overrides import SourceOverrides
from qianmian.retrieval.sources import SourceQuotas
from qianmian.venues.objective import Objective

RankLimit = Annotated[int, Field(ge=1, le=5000)]


class FeedParams(ConfigModel):
    """How a page is made, wherever the venue leaves it open."""

    release: AliasName = LIVE
    """Alias of the release that answers."""
    sources: SourceQuotas = SourceQuotas()
    """Candidates that each source may propose."""
    candidates_ranked: RankLimit = 600
    """Candidates that the ranker scores, at most."""
    objective: Objective = Field(default_factory=dict)
    """Weights of actions that replace those of the venue and its phase."""


class FeedOverrides(ConfigModel):
    """What an arm changes; everything left out stays as the service is configured."""

    release: AliasName | None = None
    """Alias of the release that answers."""
    sources: SourceOverrides = SourceOverrides()
    """Candidates that each source may propose."""
    candidates_ranked: RankLimit | None = None
    """Candidates that the ranker scores, at most."""
    objective: Objective = Field(default_factory=dict)
    """Weights of actions that replace those of the venue and its phase."""

    def paths(self) -> frozenset[str]:
        """Return the parameters this changes, as dotted paths: `sources.repeat`."""
        plain = self.model_dump(exclude_defaults=True, mode="json")
        return frozenset(
            f"{name}.{inner}" if isinstance(value, dict) else name
            for name, value in plain.items()
            for inner in (value if isinstance(value, dict) else (name,))
        )

    def apply(self, params: FeedParams) -> FeedParams:
        """Return the parameters with these changes."""
        return FeedParams(
            release=self.release or params.release,
            sources=self.sources.apply(params.sources),
            candidates_ranked=self.candidates_ranked or params.candidates_ranked,
            objective={**params.objective, **self.objective},
        )

"""What a venue aims at: a weight for each term of an item's score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from qianmian.contracts.objective import Term

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


def _some_weight(objective: dict[Term, float]) -> dict[Term, float]:
    if objective and not any(objective.values()):
        raise ValueError("expected at least one weight above 0")
    return objective


#: Weight of each term in the score of an item. What a narrower scope (venue, phase, experiment
#: arm) leaves out, it takes from the wider one.
Objective = Annotated[dict[Term, Weight], AfterValidator(_some_weight)]


def merged(*objectives: Mapping[Term, float]) -> dict[str, float]:
    """Merge objectives, the later ones winning; keys become plain text."""
    return {str(term): weight for o in objectives for term, weight in o.items()}

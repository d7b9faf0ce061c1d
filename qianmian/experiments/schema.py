"""What an experiment file may say; one file is one experiment in a layer of its own.

Layers overlap independently, so two layers must not change the same parameter. That experiments
share a layer and exclude each other is left for later; today a layer has one experiment.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from qianmian.config import ConfigModel
from qianmian.experiments.params import FeedOverrides
from qianmian.venues.schema import Word


class Unit(StrEnum):
    """Who is assigned: what stays in the same arm from request to request."""

    USER = "user"
    VISITOR = "visitor"


class ArmFile(ConfigModel):
    """One arm."""

    name: Word
    """What answers and reports call the arm."""
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    """Share of all units that the arm holds."""
    overrides: FeedOverrides = FeedOverrides()
    """Parameters of the feed that differ in this arm."""


class ExperimentFile(ConfigModel):
    """One experiment."""

    experiment: Word
    """What answers and reports call the experiment."""
    layer: Word
    """Layer it stands in; no other experiment may use the same."""
    salt: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Text that decides who lands where; change it to shuffle everybody anew."""
    unit: Unit = Unit.USER
    """`user`: the account, or the device of who has none; `visitor`: always the device."""
    datasets: tuple[str, ...] = ()
    """Data sets it runs on; empty means all."""
    description: str = ""
    """What it is meant to find out."""
    arms: Annotated[tuple[ArmFile, ...], Field(min_length=1, max_length=50)]
    """Arms; what their shares leave over is in no arm."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"expected arms of different names, not {', '.join(names)}")
        total = math.fsum(arm.share for arm in self.arms)
        if total > 1 + 1e-9:
            raise ValueError(f"expected shares that sum to at most 1, not {total:g}")
        return self

"""A loss that is no number ends a training at once, with what to change."""

from __future__ import annotations

import math

from qianmian.errors import TrainingError


def must_be_finite(loss: float, told: str, knob: str) -> str:
    """What is told of a loss.

    Raises:
        TrainingError: the loss is not finite: nothing learned after it would be worth anything.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"{told}: expected a finite loss; set {knob} lower in the profile, or look for "
            "features of extreme size in the data"
        )
    return told

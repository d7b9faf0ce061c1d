"""What was predicted and what followed, and how well the one holds for the other.

Shapes: `N` candidates of a group (a user, or a page), `A` actions, `R` candidates of many groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts.events import EventType
from qianmian.releases.manifest import CalibrationRow, Period

OVERALL: Final = "all"
BINS: Final = 20

Floating = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Foretold:
    """Predictions, group after group, and the segments of users that each group belongs to."""

    predicted: list[Floating] = field(default_factory=list)  # [N, A] of each group
    happened: list[Bools] = field(default_factory=list)  # the same
    weights: list[Floating] = field(default_factory=list)  # the same; 0: says nothing of the action
    members: dict[str, list[int]] = field(default_factory=dict)

    def add(
        self,
        predicted_NA: Floating,
        happened_NA: Bools,
        segments: Iterable[str],
        weights_NA: Floating | None = None,
    ) -> None:
        """One more group; without weights each candidate counts once."""
        for segment in (OVERALL, *filter(None, segments)):
            self.members.setdefault(segment, []).append(len(self.predicted))
        self.predicted.append(predicted_NA)
        self.happened.append(happened_NA)
        shape = predicted_NA.shape
        self.weights.append(np.broadcast_to(1.0, shape) if weights_NA is None else weights_NA)

    def rows(self, actions: Sequence[EventType], period: Period) -> Iterator[CalibrationRow]:
        """How each action held, over all and over each segment; none where nothing tells of it."""
        for segment, groups in sorted(self.members.items(), key=_all_first):
            for column, action in enumerate(actions):
                predicted_R, happened_R, weights_R = (
                    np.concatenate([side[group][:, column] for group in groups]).astype(np.float64)
                    for side in (self.predicted, self.happened, self.weights)
                )
                if not weights_R.any():
                    continue
                predicted, actual = (
                    float(np.average(side, weights=weights_R)) for side in (predicted_R, happened_R)
                )
                yield CalibrationRow(
                    action=action,
                    segment=segment,
                    candidates=round(float(weights_R.sum())),
                    predicted=predicted,
                    actual=actual,
                    ratio=predicted / actual if actual else None,
                    ece=expected_calibration_error(predicted_R, happened_R, weights_R),
                    period=period,
                )


def expected_calibration_error(
    predicted_R: Floating,
    happened_R: npt.NDArray[np.bool_] | Floating,
    weights_R: Floating | None = None,
    bins: int = BINS,
) -> float:
    """Mean distance between predicted and actual share over bins of equal weight; 0 of nothing.

    Bins of equal mass, not of equal width: rare actions would all fall into the first one (Nixon
    et al., "Measuring calibration in deep learning", 2019). Equal predictions may fall into two
    bins; which of them do so is drawn, so the order of the rows does not matter.

    >>> expected_calibration_error(np.array([0.5, 0.5]), np.array([True, False]), bins=1)
    0.0
    """
    weights_R = np.ones(len(predicted_R)) if weights_R is None else weights_R
    if not weights_R.any():
        return 0.0
    order = np.random.default_rng(0).permutation(len(predicted_R))
    order = order[np.argsort(predicted_R[order], kind="stable")]
    weights_R, gaps_R = weights_R[order], (predicted_R - happened_R.astype(np.float64))[order]
    middles = np.cumsum(weights_R) - weights_R / 2
    bin_R = np.minimum((middles / weights_R.sum() * bins).astype(int), bins - 1)
    gap_of_bins = np.bincount(bin_R, weights=gaps_R * weights_R, minlength=bins)
    return float(np.abs(gap_of_bins).sum() / weights_R.sum())


def _all_first(entry: tuple[str, list[int]]) -> tuple[bool, str]:
    return entry[0] != OVERALL, entry[0]

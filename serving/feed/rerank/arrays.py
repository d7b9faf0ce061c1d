"""What the compiled loops take: arrays, grouped by what they are about.

Shapes: `n` items of the catalogue, `N` candidates of a block, `W` windows, `Q` quotas, `D` width
of item vectors. Item indices are positions in the catalogue; -1 stands for an item that this
release does not know.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float32, Float64, Int32

Mask = npt.NDArray[np.bool_]

NO_DIVERSITY: Final = 0
MMR: Final = 1
DPP: Final = 2

FREE: Final = -2  # in a sequence: a slot to fill; as a pick: nothing was left to fill it with
FIXED: Final = -1  # as a pick: the slot held an item before
UNLIMITED: Final = np.iinfo(np.int32).max  # at_most of a quota that has none


class Candidates(NamedTuple):
    """Items that a block may show, best first."""

    items: Int32  # [N]
    weight: Float64  # [N], what relevance adds to the gain, never rising; see `likeness`


class Windows(NamedTuple):
    """At most `at_most` items of one code among `within` slots; code 0 (unknown) is free."""

    codes: Int32  # [W, n]
    at_most: Int32  # [W]
    within: Int32  # [W]
    since: Int32  # [W], first place of the sequence that counts
    widest: int  # number of codes of the attribute that has most


class Quotas(NamedTuple):
    """At least and at most so many members among the items shown."""

    member: Mask  # [Q, N], of the candidates
    at_least: Int32  # [Q]
    at_most: Int32  # [Q]
    used: Int32  # [Q], members that are on the page already or stand in fixed slots; counts up
    later: Int32  # [Q], members that blocks further down can still take
    pace: Int32  # [Q, 2]: the windows let at most pace[0] of pace[1] slots be members; 0: any


class Diversity(NamedTuple):
    """How likeness counts."""

    method: int  # NO_DIVERSITY, MMR or DPP
    strength: float
    window: int
    since: int  # first place of the sequence that counts
    vectors: Float32  # [n, D]
    scale: Float32  # [n], 1 / length of each vector, 0 where it has none


class Picks(NamedTuple):
    """What was put into each free slot of a block, and why. P slots."""

    rows: Int32  # [P], candidate, FIXED, or FREE where nothing was left
    level: Int32  # [P], level of the hardest rule that the item breaks, 0 for none
    broken: npt.NDArray[np.uint64]  # [P], bit of each window that the item breaks
    first: Int32  # [P], best candidate by relevance that was left
    held: Int32  # [P], level of the rule that held that one back, 0 where none did

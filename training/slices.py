"""The slices in which lists are judged.

- `all`: the list as it is;
- `repeat`, `new`: only items that the user had, or had not, acted on before the cut, in the list
  and in what is relevant alike;
- `cold_item`: only items that fewer than COLD_ITEM_USERS users had acted on, in both alike;
- `cold_user`, `known_user`: the list as it is, of users without and with a target action before
  the cut;
- `tag=value`: the list as it is, of the users of a segment.

Shapes: `R` ranked items of a user, `n` catalogue items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Int32
from qianmian.retrieval.sources import top_k
from training.metrics import Bools
from training.subjects import Subject

ALL: Final = "all"
REPEAT: Final = "repeat"
NEW: Final = "new"
COLD_ITEM: Final = "cold_item"
COLD_USER: Final = "cold_user"
KNOWN_USER: Final = "known_user"

KS: Final = (10, 20, 50)
DEPTH: Final = max(KS)
#: An item is cold below this number of users with a target action before the cut.
COLD_ITEM_USERS: Final = 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """One system's scores for one user; what it leaves out is not ranked."""

    items: Int32  # [R] item indices
    scores: npt.NDArray[np.floating]  # [R]

    def without(self, items: Int32) -> Ranking:
        """The others."""
        kept = ~_member(self.items, items)
        return Ranking(self.items[kept], self.scores[kept])


def places_of(subject: Subject, ranking: Ranking, cold: Bools) -> dict[str, npt.NDArray[np.intp]]:
    """Positions in `ranking` of the first places of each slice of items, best first.

    `cold` [n] says which items of the catalogue are cold.
    """
    owned = _member(ranking.items, subject.owned)
    first = top_k(ranking.scores, DEPTH + int(owned.sum()))  # holds DEPTH new ones, if there are
    own, frosty = np.flatnonzero(owned), np.flatnonzero(cold[ranking.items])
    return {
        ALL: first[:DEPTH],
        REPEAT: own[top_k(ranking.scores[own], DEPTH)],
        NEW: first[~owned[first]][:DEPTH],
        COLD_ITEM: frosty[top_k(ranking.scores[frosty], DEPTH)],
    }


def relevant_in(subject: Subject, cold: Bools) -> dict[str, Int32]:
    """What is relevant to a user in each slice of items; empty: the user takes no part in it.

    An item that nobody knew before the cut (a negative index) is cold and new.
    """
    relevant = subject.relevant
    repeated = np.isin(relevant, subject.owned)
    return {
        ALL: relevant,
        REPEAT: relevant[repeated],
        NEW: relevant[~repeated],
        COLD_ITEM: relevant[(relevant < 0) | cold[np.maximum(relevant, 0)]],
    }


def slices_of(subject: Subject, of_items: Iterable[str]) -> Iterator[str]:
    """Every slice that a user takes part in, given those of items.

    The others judge the list as `all` does.
    """
    yield from of_items
    yield from filter(None, subject.segments)
    yield KNOWN_USER if len(subject.owned) else COLD_USER


def _member(items: Int32, chosen: Int32) -> Bools:
    """Which items are among the chosen ones (a mask is quicker than a sort)."""
    mask = np.zeros(int(items.max(initial=0)) + 1, dtype=np.bool_)
    mask[chosen[chosen < len(mask)]] = True
    return mask[items]

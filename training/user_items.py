"""What each user has of each item before a moment, as matrices.

Shapes: `U` users, `n` items of the catalogue, `K` some of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.neighbours import HALF_LIFE_DAYS, STRONGEST
from training.actions import Actions


def decayed_counts(targets: Actions, *, users: int, items: int, moment: float) -> sp.csr_array:
    """How often each user acted on each item before `moment`, decayed, float32 [U, n]."""
    past = targets.between(-np.inf, moment)
    age_days = (moment - past.at) / SECONDS_PER_DAY
    weights = np.exp2(-age_days / HALF_LIFE_DAYS)
    counts = sp.csr_array((weights, (past.users, past.items)), shape=(users, items))
    return counts.astype(np.float32)  # sums what stood at one place


def had_by_users(targets: Actions, *, users: int, items: int, moment: float) -> sp.csr_array:
    """What each user has of each item before `moment`, float32 [U, n]: roots of decayed counts."""
    counts = decayed_counts(targets, users=users, items=items, moment=moment)
    counts.data = np.minimum(np.sqrt(counts.data), STRONGEST)
    return counts


def well_known(counts_Un: sp.csr_array, *, items: int, min_users: int) -> npt.NDArray[np.intp]:
    """Items with the most users, of those with enough of them, ascending [K], `items` at most."""
    users = np.bincount(counts_Un.indices, minlength=counts_Un.shape[1])
    known = np.argsort(-users, kind="stable")[:items]
    return np.sort(known[users[known] >= min_users])

"""Learns item factors from the target actions before a moment.

Implicit-feedback ALS (Hu, Koren and Volinsky, 2008) on decayed counts. The items with the most
users take part: a tenth of a large catalogue has nearly all of what factors can say of a user, at
a tenth of the time, and small resident arrays.

Shapes: `U` users, `F` items that take part, `n` items of the catalogue, `K` width.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from implicit.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from qianmian.features.item_table import Float32
from qianmian.retrieval.factors import CONFIDENCE, Factors
from training.actions import Actions
from training.profile import FactorsProfile
from training.user_items import decayed_counts, well_known


def fit_factors(
    targets: Actions,
    *,
    users: int,
    items: int,
    moment: float,
    profile: FactorsProfile,
    seed: int,
) -> Factors:
    """Learn the factors of items from target actions before `moment` (epoch seconds)."""
    counts = decayed_counts(targets, users=users, items=items, moment=moment)
    known = well_known(counts, items=profile.items, min_users=profile.min_users)
    if len(known) <= 1:
        return Factors.none(items)
    _, vectors = factorized(
        counts.tocsc()[:, known],
        width=profile.width,
        regularization=profile.regularization,
        iterations=profile.iterations,
        seed=seed,
    )
    return Factors(known.astype(np.int32), vectors, profile.regularization, items)


def factorized(
    counts: sp.sparray, *, width: int, regularization: float, iterations: int, seed: int
) -> tuple[Float32, Float32]:
    """Factors of the users [U, K] and of the items [F, K] of decayed counts [U, F].

    The confidence in an action is one more than CONFIDENCE for each unit of log1p(count).
    """
    confidence = sp.csr_matrix(counts)
    confidence.data = 1.0 + np.float32(CONFIDENCE) * np.log1p(confidence.data)
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=width,
            regularization=regularization,
            iterations=iterations,
            random_state=seed,
            num_threads=torch.get_num_threads(),
        )
        model.fit(confidence, show_progress=False)
    of_users, of_items = np.asarray(model.user_factors), np.asarray(model.item_factors)
    return np.ascontiguousarray(of_users), np.ascontiguousarray(of_items)

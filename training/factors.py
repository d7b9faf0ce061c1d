"""Learns item factors from the target actions before a moment.

Implicit-feedback ALS (Hu, Koren and Volinsky, 2008) on decayed counts. The items with the most
users take part: a tenth of a large catalogue has nearly all of what factors can say of a user, at
a tenth of the time, and small resident arrays. How much to regularize goes with the size of a shop:
what tells a user of thousands from the others leaves nothing of the vectors of a hundred. So the
last weeks choose.

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
from training.held_out import HeldOut
from training.profile import FactorsProfile
from training.user_items import decayed_counts, well_known


def fit_factors(
    targets: Actions,
    *,
    users: int,
    items: int,
    moment: float,
    profile: FactorsProfile,
    regularization: float,
    seed: int,
) -> Factors:
    """Learn the factors of items from target actions before `moment` (epoch seconds)."""
    counts = decayed_counts(targets, users=users, items=items, moment=moment)
    known = well_known(counts, items=profile.items, min_users=profile.min_users)
    if len(known) <= 1:
        return Factors.none(items)
    _, vectors = _by_profile(counts.tocsc()[:, known], profile, regularization, seed)
    return Factors(known.astype(np.int32), vectors, regularization, items)


def tuned_regularization(
    targets: Actions, *, users: int, items: int, cut: float, profile: FactorsProfile, seed: int
) -> float:
    """Which of the profile's ranks best what was new to users in the last weeks before `cut`.

    Where nothing happened that could choose, the middle one.
    """
    choices = profile.regularizations
    held_out = HeldOut.of(targets, users=users, items=items, cut=cut)
    counts = decayed_counts(targets, users=users, items=items, moment=held_out.moment)
    known = well_known(counts, items=profile.items, min_users=profile.min_users)
    if len(choices) == 1 or not held_out.asked or len(known) <= 1:
        return choices[len(choices) // 2]
    of_known = counts.tocsc()[:, known]

    def judged(regularization: float) -> float:
        of_users, of_items = _by_profile(of_known, profile, regularization, seed)
        scores = np.zeros(items, dtype=np.float32)
        found = 0.0
        for user in held_out.asked:
            scores[known] = of_items @ of_users[user]
            found += held_out.ndcg(user, scores)[1]
        return found

    found = {choice: judged(choice) for choice in choices}
    best = max(found, key=found.__getitem__)
    return best if found[best] > 0.0 else choices[len(choices) // 2]


def _by_profile(
    counts: sp.sparray, profile: FactorsProfile, regularization: float, seed: int
) -> tuple[Float32, Float32]:
    return factorized(
        counts,
        width=profile.width,
        regularization=regularization,
        iterations=profile.iterations,
        seed=seed,
    )


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
            use_gpu=False,  # other starts, other arrays
        )
        model.fit(confidence, show_progress=False)
    of_users, of_items = np.asarray(model.user_factors), np.asarray(model.item_factors)
    return np.ascontiguousarray(of_users), np.ascontiguousarray(of_items)

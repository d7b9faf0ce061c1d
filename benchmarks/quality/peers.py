"""What a team could pick instead, trained in the same run on the same data.

Popularity, personal frequency, item-kNN and EASE are in `training.systems`, since every release is
measured against them. Here are those that need a library: iALS (implicit) and LightGBM's
lambdarank on the very candidates and ranking features of the two-stage model.

Shapes: `n` catalogue items, `R` candidates, `F` ranking features.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.neighbours import HALF_LIFE_DAYS
from qianmian.retrieval.sources import SourceQuotas
from training.actions import Actions
from training.baselines import popularity
from training.held_out import HeldOut
from training.history import History
from training.proposals import Examples
from training.slices import Ranking
from training.subjects import Subject
from training.systems import System, proposing

IALS: Final = "ials"
LAMBDARANK: Final = "lambdarank"

#: Factors and regularizations of iALS to choose from, and what a unit of log1p(count) adds to the
#: confidence of an action, on top of the 1 of none.
FACTORS: Final = (32, 128)
REGULARIZATIONS: Final = (0.1, 10.0, 100.0)
_ALPHA: Final = 10.0


def ials(history: History, ranked: Int32, *, seed: int) -> System:
    """Implicit-feedback ALS (Hu, Koren and Volinsky, 2008) on decayed counts of target actions.

    The last weeks choose factors and regularization. Users without a target action get popularity.
    """
    targets, users, n = history.targets, len(history.user_ids), len(history.catalogue)
    held_out = HeldOut.of(targets, users=users, items=n, cut=history.cut)
    choices = list(itertools.product(FACTORS, REGULARIZATIONS))

    def judged(choice: tuple[int, float]) -> float:
        past = targets.between(-np.inf, held_out.moment)
        of_users, of_items = _factors(past, held_out.moment, (users, n), choice, seed)
        return sum(held_out.ndcg(user, of_items @ of_users[user])[0] for user in held_out.asked)

    chosen = max(choices, key=judged)
    of_users, of_items = _factors(targets, history.cut, (users, n), chosen, seed)
    popular = popularity(targets, n, history.cut)
    known = np.bincount(targets.users, minlength=users) > 0

    def scored(subject: Subject) -> Ranking:
        if subject.code < 0 or not known[subject.code]:
            return Ranking(ranked, popular[ranked])
        return Ranking(ranked, of_items[ranked] @ of_users[subject.code])

    return scored


def _factors(
    targets: Actions, moment: float, shape: tuple[int, int], choice: tuple[int, float], seed: int
) -> tuple[Float32, Float32]:
    """Factors of users and items, learned from what came before a moment."""
    from implicit.als import AlternatingLeastSquares

    age_days = (moment - targets.at) / SECONDS_PER_DAY
    counts = sp.csr_matrix(
        (np.exp2(-age_days / HALF_LIFE_DAYS), (targets.users, targets.items)),
        shape=shape,
        dtype=np.float32,
    )
    counts.data = 1.0 + _ALPHA * np.log1p(counts.data)
    factors, regularization = choice
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            iterations=15,
            random_state=seed,
            num_threads=1,
        )
        model.fit(counts, show_progress=False)
    return np.asarray(model.user_factors), np.asarray(model.item_factors)


def lambdarank(
    examples: Examples,
    history: History,
    bundle: Bundle,
    ranked: Int32,
    quotas: SourceQuotas,
    *,
    seed: int,
) -> System:
    """LightGBM's lambdarank on the candidates and features that the ranker learned from."""
    import lightgbm as lgb

    target = history.predicted.index(history.target)
    examples = examples.groups(~(examples.shown | examples.launched))
    data = lgb.Dataset(
        examples.features,
        examples.labels[:, target],
        group=np.diff(examples.starts),
        params={"max_bin": 127},
    )
    model = lgb.train({**_LAMBDARANK, "seed": seed}, data, _TREES)
    proposed, cut = proposing(history, bundle, ranked, quotas), history.cut

    def scored(subject: Subject) -> Ranking:
        candidates = proposed(subject)
        rows = bundle.describe(subject.state, candidates, cut)
        scores = model.predict(rows, num_threads=1)
        return Ranking(candidates.items, np.asarray(scores))

    return scored


_TREES: Final = 300
_LAMBDARANK: Final = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 40,
    "label_gain": [0, 1],
    "learning_rate": 0.06,
    "num_leaves": 63,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "verbose": -1,
    "num_threads": 2,
}

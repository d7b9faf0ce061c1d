"""What a team could pick instead, trained in the same run on the same data.

Popularity, personal frequency, item-kNN and EASE are in `training.systems`, since every release is
measured against them. Here are those that need a library: iALS (implicit) and LightGBM's
lambdarank on the very candidates and ranking features of the two-stage model.

Shapes: `n` catalogue items, `R` candidates, `F` ranking features.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse as sp

from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.neighbours import HALF_LIFE_DAYS
from qianmian.retrieval.sources import SourceQuotas
from training.history import History
from training.proposals import Examples
from training.slices import Ranking
from training.subjects import Subject
from training.systems import System, proposing

IALS: Final = "ials"
LAMBDARANK: Final = "lambdarank"

_ALPHA = 10.0  # confidence of an action against that of none


def ials(history: History, ranked: Int32, *, seed: int, factors: int = 128) -> System:
    """Implicit-feedback ALS (Hu, Koren and Volinsky, 2008) on decayed counts of target actions."""
    from implicit.als import AlternatingLeastSquares

    targets, n = history.targets, len(history.catalogue)
    age_days = (history.cut - targets.at) / SECONDS_PER_DAY
    counts = sp.csr_matrix(
        (np.exp2(-age_days / HALF_LIFE_DAYS), (targets.users, targets.items)),
        shape=(len(history.user_ids), n),
        dtype=np.float32,
    )
    counts.data = _ALPHA * np.log1p(counts.data)
    model = AlternatingLeastSquares(
        factors=factors, regularization=0.1, iterations=15, random_state=seed, num_threads=1
    )
    model.fit(counts, show_progress=False)
    items: Float32 = np.asarray(model.item_factors)[ranked]
    users: Float32 = np.asarray(model.user_factors)
    mean = users.mean(axis=0)  # for a user of whom nothing is known

    def scored(subject: Subject) -> Ranking:
        return Ranking(ranked, items @ (users[subject.code] if subject.code >= 0 else mean))

    return scored


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

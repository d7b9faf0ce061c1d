"""What a team could pick instead, trained in the same run on the same data.

Popularity, personal frequency, item-kNN and EASE are in `training.systems`, since every release is
measured against them. Here are those that take long to train: iALS (implicit) and LightGBM's
lambdarank on the very candidates and ranking features of the two-stage model.

Shapes: `n` catalogue items, `R` candidates, `F` ranking features.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from models.trees import Booster
from qianmian.features.item_table import Float32, Int32
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas
from training.baselines import popularity
from training.factors import factorized
from training.held_out import HeldOut
from training.history import History
from training.proposals import Examples
from training.slices import Ranking
from training.subjects import Subject
from training.systems import System, proposing
from training.user_items import decayed_counts

IALS: Final = "ials"
IALS_NEW: Final = "ials_new"
LAMBDARANK: Final = "lambdarank"
TREES: Final = "trees"  # no rival: those of the two-stage model without its network

#: Numbers of factors and regularizations of iALS to choose from.
WIDTHS: Final = (32, 128)
REGULARIZATIONS: Final = (0.1, 10.0, 100.0)
_ITERATIONS: Final = 15


def ials(history: History, ranked: Int32, *, seed: int) -> dict[str, System]:
    """Implicit-feedback ALS (Hu, Koren and Volinsky, 2008) on decayed counts of target actions.

    The last weeks choose factors and regularization: those that rank all items best, and those that
    rank best what is new to a user. Users without a target action get popularity.
    """
    targets, users, n = history.targets, len(history.user_ids), len(history.catalogue)
    held_out = HeldOut.of(targets, users=users, items=n, cut=history.cut, ranked=ranked)
    popular = popularity(targets, n, history.cut)[ranked]
    known = np.bincount(targets.users, minlength=users) > 0

    def learned(moment: float, choice: Choice) -> tuple[Float32, Float32]:
        counted = decayed_counts(targets, users=users, items=n, moment=moment)
        width, regularization = choice
        return factorized(
            counted, width=width, regularization=regularization, iterations=_ITERATIONS, seed=seed
        )

    def judged(choice: Choice) -> npt.NDArray[np.float64]:
        of_users, of_items = learned(held_out.moment, choice)
        found = [held_out.ndcg(user, of_items @ of_users[user]) for user in held_out.asked]
        return np.sum(found, axis=0) if found else np.zeros(2)

    def system(choice: Choice) -> System:
        of_users, of_items = learned(history.cut, choice)

        def scored(subject: Subject) -> Ranking:
            if subject.code < 0 or not known[subject.code]:
                return Ranking(ranked, popular)
            return Ranking(ranked, of_items[ranked] @ of_users[subject.code])

        return scored

    choices: list[Choice] = list(itertools.product(WIDTHS, REGULARIZATIONS))
    ndcg_C2 = np.stack([judged(choice) for choice in choices])
    of_all, of_new = (choices[best] for best in ndcg_C2.argmax(axis=0).tolist())
    made = {choice: system(choice) for choice in {of_all, of_new}}
    return {IALS: made[of_all], IALS_NEW: made[of_new]}


Choice = tuple[int, float]  # number of factors, regularization


def lambdarank(
    examples: Examples,
    history: History,
    bundle: Bundle,
    ranked: Int32,
    quotas: SourceQuotas,
    *,
    seed: int,
) -> System:
    """LightGBM's lambdarank on the candidates and features that the ranker learned from.

    Its knobs are what ranked best eight weeks before Complete Journey's split. Every sampled
    negative weighs one, whatever it stands for: that ranked best, too.
    """
    import lightgbm as lgb

    target = history.predicted.index(history.target)
    examples = examples.groups(~(examples.shown | examples.launched))
    data = lgb.Dataset(
        examples.features,
        examples.labels[:, target],
        group=np.diff(examples.starts),
        params={"max_bin": 127},
    )
    knobs = {**_LAMBDARANK, "seed": seed, "num_threads": torch.get_num_threads()}
    model = lgb.train(knobs, data, _TREES)
    return by_trees(model, history, bundle, ranked, quotas)


def by_trees(
    model: Booster, history: History, bundle: Bundle, ranked: Int32, quotas: SourceQuotas
) -> System:
    """What trees alone rank of the candidates, by the ranking features."""
    proposed, cut = proposing(history, bundle, ranked, quotas), history.cut

    def scored(subject: Subject) -> Ranking:
        candidates = proposed(subject)
        rows = bundle.describe(subject.state, candidates, cut)
        scores = model.predict(rows, raw_score=True, num_threads=1)
        return Ranking(candidates.items, np.asarray(scores))

    return scored


_TREES: Final = 300
_LAMBDARANK: Final = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 1000,  # every pair of a user's candidates
    "label_gain": [0, 1],
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "verbose": -1,
}

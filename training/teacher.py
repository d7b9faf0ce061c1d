"""Gradient-boosted trees that teach the ranker the target, and stand beside its network.

Trees find thresholds and crosses of features that a small network finds late. A network that learns
their chance beside what happened (distillation: Hinton, Vinyals and Dean, 2015) keeps much of what
the trees know; the rest is in their own logit, a part of the target's (`models.trees`). What
attention adds, which trees cannot see, is learned from what happened alone.

The chances are of the rows that the trees learned from. Where these are few, trees learn them by
heart, and soft labels are what happened once more.

Shapes: `R` rows of all groups, `F` features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.trees import Beside, Trees
from qianmian.errors import TrainingError
from qianmian.features.item_table import Float32
from training.profile import TeacherProfile
from training.proposals import Examples


@dataclass(frozen=True, slots=True)
class Taught:
    """What trees say of the target."""

    soft: Float32  # [R] labels in [0, 1]
    logits: Float32  # [R] of the trees, of every row; 0 without trees
    trees: Trees | None  # that stand beside the network

    def beside(self, rows: npt.NDArray[np.integer]) -> Beside | None:
        """Takes what a network says of some rows to what it and the trees say of them."""
        if self.trees is None:
            return None
        return self.trees.beside(torch.from_numpy(self.logits[rows]))


def taught(
    examples: Examples,
    target: int,
    profile: TeacherProfile,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> Taught:
    """Let trees learn the target; they give soft labels.

    Of proposals `share` of the trees' chance and the rest of what happened; of logged pages and of
    launched items, from which trees do not learn, what happened. Without trees, or without a target
    action among the proposals, what happened everywhere.

    Raises:
        TrainingError: LightGBM cannot be loaded.
    """
    soft = examples.labels[:, target].copy()
    learned = np.repeat(~(examples.shown | examples.launched), np.diff(examples.starts))
    if not profile.trees or not soft[learned].any():
        return Taught(soft, np.zeros_like(soft), None)
    progress(f"ranker: {profile.trees} trees learn from {int(learned.sum()):,} candidates")
    features, weights = examples.features[learned], examples.weights[learned]
    trees = Trees(_fit(features, soft[learned], weights, profile, rng), part=profile.part)
    logits = trees(torch.from_numpy(examples.features)).numpy()
    chances = 1.0 / (1.0 + np.exp(-logits[learned]))
    soft[learned] += profile.share * (chances - soft[learned])
    return Taught(soft, logits, trees if profile.part else None)


def library() -> Any:
    """LightGBM; a profile without trees does not need it.

    Raises:
        TrainingError: it cannot be loaded.
    """
    try:
        import lightgbm  # noqa: PLC0415  # only profiles with trees need it
    except (ImportError, OSError) as error:
        raise TrainingError(
            f"LightGBM, whose trees teach the ranker, cannot be loaded ({error}): install the "
            "extra qianmian[train] and OpenMP (Debian: libgomp1), or set ranker.teacher.trees to 0 "
            "in the profile"
        ) from error
    return lightgbm


def _fit(
    features_RF: Float32,
    happened_R: Float32,
    weights_R: Float32,
    profile: TeacherProfile,
    rng: np.random.Generator,
) -> Any:
    """Each row counts for the candidates it stands for."""
    lgb, knobs = library(), _knobs(profile, rng)
    data = lgb.Dataset(features_RF, happened_R, weight=weights_R, params=knobs)
    return lgb.train(knobs, data, profile.trees)


def _knobs(profile: TeacherProfile, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "objective": "binary",
        "num_leaves": profile.leaves,
        "min_data_in_leaf": profile.min_rows,
        "learning_rate": profile.learning_rate,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "seed": int(rng.integers(2**31)),
        "num_threads": torch.get_num_threads(),
        "deterministic": True,
        "force_row_wise": True,  # either way, but always the same
        "verbose": -1,
    }

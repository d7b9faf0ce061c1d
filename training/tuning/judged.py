"""How well a ranker orders held-out candidates, of which some negatives stand for many.

Kept negatives are a sample, each with the number of candidates that it stands for. So the place of
a hit is not counted but estimated: behind the hits above it, and behind what the negatives above it
stand for. Metrics of the sample itself would praise whoever is good at the top of a short list
(Krichene and Rendle, 2020). The estimate is some percent too high, for every ranker alike: a hit
with no kept negative above it may have had some.

Shapes: `G` groups (a user at a moment), `R` rows of all groups, `N` rows of a group.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.ranker import Ranker
from qianmian.features.item_table import Float32
from training.metrics import Floats
from training.proposals import Examples
from training.ranker_batch import in_order

K: Final = 20


class Judged(NamedTuple):
    """Estimated NDCG@20 of each group, [G]; not a number where nothing was relevant."""

    all: Floats
    new: Floats  # among what was new to the user


def judged(ranker: Ranker, examples: Examples, *, target: int, repeat: int) -> Judged:
    """Judge the order of the target's logit.

    Args:
        ranker: what is judged.
        examples: held-out proposals.
        target: index of the action that is wanted.
        repeat: index of the feature that is above 0 for items that the user acted on before.
    """
    with torch.no_grad():
        logits_R = torch.cat(
            [
                ranker(batch.features, batch.context)[..., target][batch.inside]
                for batch in in_order(examples)
            ]
        ).numpy()
    wanted_R, new_R = examples.labels[:, target] > 0, examples.features[:, repeat] <= 0
    of_all, of_new = [], []
    for start, end in zip(examples.starts[:-1], examples.starts[1:], strict=True):
        rows = np.arange(start, end)
        of_all.append(ndcg_of_sample(logits_R[rows], wanted_R[rows], examples.weights[rows]))
        rows = rows[new_R[rows]]
        of_new.append(ndcg_of_sample(logits_R[rows], wanted_R[rows], examples.weights[rows]))
    return Judged(np.array(of_all), np.array(of_new))


def ndcg_of_sample(
    scores_N: Float32, wanted_N: npt.NDArray[np.bool_], stands_for_N: Float32
) -> float:
    """NDCG@20 that the whole list would have, by the places that hits would have in it.

    >>> import numpy as np
    >>> found = ndcg_of_sample(np.array([3.0, 2.0]), np.array([False, True]), np.array([2.0, 1.0]))
    >>> found == 1 / np.log2(4)
    True
    """
    if not wanted_N.any():
        return float("nan")
    order = np.argsort(-scores_N, kind="stable")
    places = np.cumsum(stands_for_N[order], dtype=np.float64)[wanted_N[order]]
    near = places[places <= K]
    best = (1.0 / np.log2(np.arange(2, min(K, len(places)) + 2))).sum()
    return float((1.0 / np.log2(1.0 + near)).sum() / best)

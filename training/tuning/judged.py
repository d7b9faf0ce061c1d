"""How well a ranker orders held-out candidates, every one of which was kept.

Shapes: `G` groups (a user at a moment), `R` rows of all groups, `N` rows of a group.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.ranker import Ranker
from qianmian.errors import TrainingError
from qianmian.features.item_table import Float32
from training.metrics import Floats, ndcg_at
from training.proposals import Examples
from training.ranker_batch import in_order

K: Final = 20


class Judged(NamedTuple):
    """NDCG@20 of each group among its candidates, [G]; not a number where none was relevant."""

    all: Floats
    new: Floats  # among what was new to the user


def judged(ranker: Ranker, examples: Examples, *, target: int, repeat: int) -> Judged:
    """Judge the order of the target's logit.

    Args:
        ranker: what is judged.
        examples: held-out proposals, with all of their negatives.
        target: index of the action that is wanted.
        repeat: index of the feature that is above 0 for items that the user acted on before.

    Raises:
        TrainingError: what the ranker says is no number.
    """
    with torch.no_grad():
        logits_R = torch.cat(
            [
                ranker(batch.features, batch.context)[..., target][batch.inside]
                for batch in in_order(examples)
            ]
        ).numpy()
    if not np.isfinite(logits_R).all():
        raise TrainingError("what the ranker says is no number; a lower ranker.lr may mend it")
    wanted_R, new_R = examples.labels[:, target] > 0, examples.features[:, repeat] <= 0
    of_all, of_new = [], []
    for start, end in zip(examples.starts[:-1], examples.starts[1:], strict=True):
        rows = np.arange(start, end)
        of_all.append(ndcg(logits_R[rows], wanted_R[rows]))
        rows = rows[new_R[rows]]
        of_new.append(ndcg(logits_R[rows], wanted_R[rows]))
    return Judged(np.array(of_all), np.array(of_new))


def ndcg(scores_N: Float32, wanted_N: npt.NDArray[np.bool_]) -> float:
    """NDCG@20 of candidates; of equal scores what is wanted comes last.

    >>> round(ndcg(np.array([3.0, 2.0]), np.array([False, True])), 4)
    0.6309
    """
    if not wanted_N.any():
        return float("nan")
    order = np.lexsort((wanted_N, -scores_N))
    return ndcg_at(wanted_N[order], int(wanted_N.sum()), K)

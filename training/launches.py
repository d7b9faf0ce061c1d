"""Launches: known items once more as if nobody had acted on them yet.

A sale brings items that no event tells of, while what retrieval proposes of the past are items that
were acted on. So for some users of a moment a few items lose their past: statistics, id row,
neighbours, factors, their place in what the user had and likes. What is left are their attributes,
the user's taste for these by other items, and what followed (whole items held out, as cold start is
measured). Only the source `unseen` proposes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from qianmian.features.encoding import item_dense
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.ranking_features import RankingFeatures
from qianmian.features.user_state import UserState
from qianmian.retrieval.factors import Factors
from qianmian.retrieval.neighbours import Neighbours
from qianmian.retrieval.scale import ScoreScale
from qianmian.retrieval.sources import Pool, SourceQuotas
from training.draw import draw
from training.proposals import Examples, closed_to, examples_at
from training.run import Run, codes_at


def launches(
    run: Run,
    moment: float,
    items: ItemTable,
    vectors: Float32,
    users: Int32,
    states: Sequence[UserState],
    labels: list[dict[int, Int32]],
) -> Examples | None:
    """Launched items proposed to a share of the users, labelled; None where there are none.

    Args:
        run: the training run.
        moment: epoch seconds as of which everything is known.
        items: the catalogue as of then.
        vectors: the items' retrieval vectors, float32 [n, D].
        users: codes of the users, int32 [U].
        states: their states, [U].
        labels: what followed, as `labels_after` gives it.
    """
    profile = run.profile.ranker
    seen = np.flatnonzero(items.acted_on)
    drawn = partial(draw, seed=run.profile.seed, moment=moment)
    chosen = drawn(len(seen), profile.launched_items, what="launched items")
    visitors = drawn(len(users), profile.launch_users, what="visitors of launches")
    if not (chosen and visitors and items.attributes and profile.quotas.unseen):
        return None
    taken = SourceQuotas.only(unseen=profile.quotas.unseen)
    launched = seen[chosen].astype(np.int32)
    others = np.ones(len(items), dtype=np.bool_)
    others[launched] = False
    blank, codes = items.unseen(launched), codes_at(run, moment, without=launched)
    met = vectors.copy()
    dense = torch.from_numpy(item_dense(blank, moment))
    met[launched] = run.trainer.item_vectors(dense, codes)[launched]
    features = RankingFeatures(blank, met, run.encoder.affinity_columns, moment)
    families = features.families
    before = [families.without(states[row], others) for row in visitors]
    inputs = run.encoder.encode(((state, moment) for state in before), len(before))
    user_vectors = run.trainer.user_vectors(inputs, len(before), codes)
    examples = examples_at(
        zip(users[visitors].tolist(), before, user_vectors, strict=True),
        moment=moment,
        pool=Pool.build(
            blank,
            met,
            Neighbours.none(len(items)),
            Factors.none(len(items)),
            families,
            ScoreScale.of(vectors, items.acted_on),
            launched,
        ),
        closed=closed_to([states[row] for row in visitors], again=run.history.again),
        features=features,
        labels=labels,
        quotas=taken,
        negatives=profile.negatives,
        rng=run.rng,
    )
    return replace(examples, launched=np.ones(len(examples.launched), dtype=np.bool_))

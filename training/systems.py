"""The systems that an evaluation sets side by side: the release's models and the baselines.

Every system ranks the same items, those with a target action before the cut; `two_stage` ranks
what its sources propose of them, as serving does, by the chance of a target action within the
horizon. Once logged pages teach the target, serving ranks by another output, the chance on a page.

Shapes: `n` catalogue items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from qianmian.distinct import distinct
from qianmian.features.item_table import Int32
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.neighbours import popularity_prior
from qianmian.retrieval.sources import Candidates, SourceQuotas
from training.baselines import PersonalFrequency, counts, popularity
from training.ease import MOST_USERS, tuned
from training.history import History
from training.item_knn import fit_item_knn
from training.slices import Ranking
from training.subjects import Subject
from training.user_items import had_by_users

System = Callable[[Subject], Ranking]

TWO_STAGE: Final = "two_stage"
TWO_TOWER: Final = "two_tower"
EASE: Final = "ease"
EASE_NEW: Final = "ease_new"
#: What evaluations run beside the models; EASE_NEW where users are few enough to tune EASE.
BASELINES: Final = (
    *("popularity_all_time", "popularity", "personal_frequency", "item_knn"),
    *(EASE, EASE_NEW),
)
SYSTEMS: Final = (*BASELINES, TWO_TOWER, TWO_STAGE)


def ranked_items(history: History, pool: Int32 | None = None) -> Int32:
    """Items with a target action before the cut; of the pool alone where one is given."""
    trained = np.flatnonzero(counts(history.targets, len(history.catalogue)) > 0).astype(np.int32)
    return trained if pool is None else np.intersect1d(trained, pool).astype(np.int32)


def baselines(history: History, bundle: Bundle, ranked: Int32) -> dict[str, System]:
    """The baselines, fitted on the history."""
    cut, n = history.cut, len(history.catalogue)
    total, recent = counts(history.targets, n), popularity(history.targets, n, cut)
    personal = PersonalFrequency(history.targets, n, cut)
    knn = fit_item_knn(
        had_by_users(history.targets, users=len(history.user_ids), items=n, moment=cut)
    )
    tiny = recent / (recent.max() + 1.0) * 1e-6  # orders what no neighbour speaks for
    return {
        "popularity_all_time": lambda _: Ranking(ranked, total[ranked]),
        "popularity": lambda _: Ranking(ranked, recent[ranked]),
        "personal_frequency": lambda s: Ranking(ranked, personal.scores(s.code)[ranked]),
        "item_knn": lambda s: Ranking(ranked, (knn.scores(s.state.ledger) + tiny)[ranked]),
        **_ease(history, bundle, ranked),
    }


def _ease(history: History, bundle: Bundle, ranked: Int32) -> dict[str, System]:
    """EASE with every item; for more users than it can be made for, the release's own weights."""
    users = len(history.user_ids)
    if len(distinct(history.targets.users)) > MOST_USERS:
        kept, prior = bundle.neighbours, popularity_prior(bundle.items)
        return {EASE: lambda s: Ranking(ranked, (kept.scores(s.state.ledger) + prior)[ranked])}
    of_all, of_new = tuned(
        history.targets,
        users=users,
        items=len(history.catalogue),
        cut=history.cut,
        ranked=ranked,
    )
    return {
        EASE: lambda s: Ranking(ranked, of_all.scores(s.code)[ranked]),
        EASE_NEW: lambda s: Ranking(ranked, of_new.scores(s.code)[ranked]),
    }


def proposing(
    history: History, bundle: Bundle, ranked: Int32, quotas: SourceQuotas
) -> Callable[[Subject], Candidates]:
    """What the sources propose of the ranked items, as a page's do.

    Where users do not act on an item again, each source fills its quota with what the user did not
    have, as for a venue that says `bought_within_days`.
    """
    cut, pool = history.cut, bundle.pool(ranked)

    def proposed(subject: Subject) -> Candidates:
        allowed = None if history.again else pool.without(subject.owned)
        vector = bundle.user_vector(subject.state, cut)
        return bundle.propose(subject.state, vector, pool, quotas, allowed)

    return proposed


def models(
    history: History, bundle: Bundle, ranked: Int32, quotas: SourceQuotas
) -> dict[str, System]:
    """The release's own two-tower model alone, and both stages."""
    cut, pool = history.cut, bundle.pool(ranked)
    target = bundle.actions.index(history.target)
    proposed = proposing(history, bundle, ranked, quotas)

    def two_stage(subject: Subject) -> Ranking:
        candidates = proposed(subject)
        return Ranking(candidates.items, bundle.expect(subject.state, candidates, cut)[:, target])

    return {
        TWO_TOWER: lambda s: Ranking(ranked, pool.scores(bundle.user_vector(s.state, cut))),
        TWO_STAGE: two_stage,
    }

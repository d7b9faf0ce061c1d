"""One seed: both models trained without what is held out, then asked for it."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.cold_start.held_out import HeldOut
from benchmarks.quality.cases import Progress
from benchmarks.remembered import Found
from benchmarks.trained import trained
from qianmian.data.store import Dataset
from qianmian.features.item_table import Int32
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas, top_k
from qianmian.workspace import Workspace
from training.baselines import popularity
from training.evaluate import Evaluation, catalogue_of, evaluate
from training.history import History
from training.profile import TrainingProfile
from training.slices import ALL, Ranking
from training.subjects import Subject, refuse_a_known_future, subjects_of
from training.systems import System, baselines, models, ranked_items

K: Final = 20
PARTS: Final = ("users", "items")
USERS: Final = "who"  # beside the systems of a part: its users, in the order of their NDCG


def judged(
    workspace: Workspace, held_out: HeldOut, profile: TrainingProfile, progress: Progress
) -> Found:
    """Rows of each part and what else was found; the arrays hold NDCG by part, system and user."""
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    refuse_a_known_future(dataset)
    with trained(dataset, repo, profile, progress) as (learned, bundle):
        history = learned.run.history
        cold = history.catalogue.indices_of(held_out.items)
        pool = np.sort(cold[cold >= 0]).astype(np.int32)
        unknown, every = set(held_out.users), ranked_items(history)
        subjects = list(subjects_of(history, dataset))
        strangers = [s for s in subjects if s.user_id in unknown]
        others = [s for s in subjects if s.user_id not in unknown]
        of_pool = subjects_of(history, dataset, pool)
        askers = [s for s in of_pool if s.user_id not in unknown and len(s.owned)]

        def asked(subjects: list[Subject], systems: dict[str, System], ranked: Int32) -> Evaluation:
            catalogue, ids = catalogue_of(history, ranked), history.catalogue.item_ids
            return evaluate(subjects, systems, catalogue, item_ids=ids, progress=progress)

        users = asked(strangers, _for_strangers(history, bundle, every), every)
        items = asked(askers, _of_cold_items(history, bundle, pool), pool)
        among_all = _among_all(history, bundle, others, pool)
    evaluations = dict(zip(PARTS, (users, items), strict=True))
    facts = {
        **{part: _rows(evaluation) for part, evaluation in evaluations.items()},
        "among_all": among_all,
        "held_out": {"users": len(held_out.users), "items": len(held_out.items)},
    }
    return Found(
        facts, {f"{p}|{n}": a for p, e in evaluations.items() for n, a in _by_user(e).items()}
    )


def _for_strangers(history: History, bundle: Bundle, ranked: Int32) -> dict[str, System]:
    """Systems for the users of whom nothing is known, over all trained items."""
    every = {
        **baselines(history, bundle, ranked),
        **models(history, bundle, ranked, SourceQuotas()),
    }
    return {n: every[n] for n in ("popularity_all_time", "popularity", "two_tower", "two_stage")}


def _of_cold_items(history: History, bundle: Bundle, pool: Int32) -> dict[str, System]:
    """Systems for the items without an event."""
    popular = popularity(history.targets, len(history.catalogue), history.cut)
    columns = {n: history.catalogue.attributes[n].codes for n in history.affinity_columns}
    by_value = {n: np.bincount(codes, weights=popular) for n, codes in columns.items()}
    prior = sum((by_value[n] / by_value[n].max())[codes[pool]] for n, codes in columns.items())
    chance, families = np.random.default_rng(0), bundle.features.families

    def attribute_affinity(subject: Subject) -> Ranking:
        scores = 1e-3 * np.asarray(prior)
        for name, affinity in subject.state.affinity.items():
            shares = np.zeros(len(by_value[name]))
            shares[affinity.codes] = affinity.weights / max(float(affinity.weights.sum()), 1e-9)
            scores = scores + shares[columns[name][pool]]
        return Ranking(pool, scores)

    return {
        "random": lambda _: Ranking(pool, chance.random(len(pool))),
        "attribute_popularity": lambda _: Ranking(pool, np.asarray(prior)),
        "attribute_affinity": attribute_affinity,
        "taste": lambda s: Ranking(pool, families.taste(s.state.ledger, pool)),
        **models(history, bundle, pool, SourceQuotas.only(unseen=1000)),  # of these items alone
    }


def _among_all(
    history: History, bundle: Bundle, subjects: list[Subject], cold: Int32
) -> dict[str, dict[str, float]]:
    """Shares that belong to the held-out items: of the first places, the hits, what was ordered."""
    every = np.union1d(ranked_items(history), cold).astype(np.int32)
    relevant = np.concatenate([s.relevant for s in subjects])
    found = {"ordered": {"share": float(np.isin(relevant, cold).mean())}}
    for name, system in models(history, bundle, every, SourceQuotas()).items():
        places, hits = [], []
        for subject in subjects:
            ranking = system(subject)
            items = ranking.items[top_k(ranking.scores, K)]
            places.append(items)
            hits.append(items[np.isin(items, subject.relevant)])
        found[name] = {
            "places": float(np.isin(np.concatenate(places), cold).mean()),
            "hits": float(np.isin(np.concatenate(hits), cold).mean()),
        }
    return found


def _rows(evaluation: Evaluation) -> list[dict[str, object]]:
    """Rows but for NDCG, of which the seeds' intervals are one."""
    rows = evaluation.rows(np.random.default_rng(0))
    return [
        row.model_dump(exclude_none=True, exclude=_OF_NDCG)
        for row in rows
        if (row.slice, row.k) == (ALL, K)
    ]


_OF_NDCG: Final = {"ndcg", "ci_low", "ci_high", "ratio", "ratio_low", "ratio_high"}


def _by_user(evaluation: Evaluation) -> dict[str, np.ndarray]:
    systems = dict.fromkeys(system for system, _, _ in evaluation.scores)
    ndcg = {system: evaluation.ndcg(system, ALL, K) for system in systems}
    return {USERS: np.array(evaluation.users)[evaluation.members[ALL]], **ndcg}

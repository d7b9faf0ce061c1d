"""One seed of one case: train both models, judge them beside the peers, remember the result.

Shapes: `S` users of a slice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.peers.environment import LIST, have_peers
from benchmarks.quality import peers, sequence
from benchmarks.quality.cases import Case, Progress, pool_of
from benchmarks.remembered import Code, Found, remembered
from benchmarks.trained import trained
from qianmian.data.store import Dataset
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import Workspace
from training.evaluate import catalogue_of, evaluate
from training.pipeline import Learned, page_actions
from training.profile import TrainingProfile
from training.reliability import calibration_rows
from training.subjects import Subject, refuse_a_known_future, subjects_of
from training.systems import System, baselines, models, ranked_items

Key = tuple[str, str, int]  # system, slice, k


@dataclass(frozen=True, slots=True)
class Result:
    """What one seed gave."""

    seed: int
    rows: list[dict[str, Any]]
    calibration: list[dict[str, Any]]
    seconds: dict[str, float]
    ndcg: dict[Key, np.ndarray]  # [S] of each user of the slice, in the same order for every seed


def result_of(
    case: Case,
    workspace: Workspace,
    profile: TrainingProfile,
    *,
    with_sequence: bool,
    progress: Progress,
) -> Result:
    """The result of `profile.seed`, from disk where it is there."""

    def run() -> Found:
        return _kept(_run(case, workspace, profile, with_sequence=with_sequence, progress=progress))

    also = LIST.read_text(encoding="utf-8") if with_sequence else ""
    return _result(remembered(case.name, workspace, profile, _CODE, run, progress, also=also))


def _run(
    case: Case,
    workspace: Workspace,
    profile: TrainingProfile,
    *,
    with_sequence: bool,
    progress: Progress,
) -> Result:
    began = time.monotonic()
    clock = {}

    def told(message: str) -> None:
        spent = time.monotonic() - began
        progress(f"{case.name}, seed {profile.seed} [{spent:6.1f} s] {message}")

    if with_sequence:
        have_peers()  # what cannot be had is told before anything learns
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    refuse_a_known_future(dataset)
    with trained(dataset, repo, profile, told) as (learned, bundle):
        clock["train"] = time.monotonic() - began
        history, quotas = learned.run.history, SourceQuotas()
        pool = pool_of(case, dataset, history.catalogue)
        ranked = ranked_items(history, pool)
        subjects = list(subjects_of(history, dataset, pool))
        systems = _systems(learned, bundle, subjects, with_sequence=with_sequence, ranked=ranked)
        evaluation = evaluate(
            subjects,
            systems,
            catalogue_of(history, ranked),
            item_ids=history.catalogue.item_ids,
            progress=told,
        )
        horizon = profile.ranker.horizon_days
        calibration = (
            calibration_rows(
                bundle,
                history,
                dataset,
                ranked,
                quotas=quotas,
                horizon_days=horizon,
                without=set(page_actions(learned)) - {history.target},
            )
            if pool is None
            else []
        )
    clock["all"] = time.monotonic() - began
    rows = evaluation.rows(np.random.default_rng(profile.seed))
    return Result(
        seed=profile.seed,
        rows=[row.model_dump() for row in rows],
        calibration=[row.model_dump(mode="json") for row in calibration],
        seconds={name: round(seconds, 1) for name, seconds in clock.items()},
        ndcg={key: evaluation.ndcg(*key) for key in evaluation.scores},
    )


def _systems(
    learned: Learned,
    bundle: Bundle,
    subjects: list[Subject],
    *,
    ranked: np.ndarray,
    with_sequence: bool,
) -> dict[str, System]:
    """Baselines, peers, models and the parts of them; `two_stage` last."""
    history, seed, quotas = learned.run.history, learned.run.profile.seed, SourceQuotas()
    found = baselines(history, bundle, ranked)
    found |= peers.ials(history, ranked, seed=seed)
    if with_sequence:
        found[sequence.SASREC] = sequence.sasrec(history, subjects, ranked, seed=seed)
    found[peers.LAMBDARANK] = peers.lambdarank(
        learned.examples, history, bundle, ranked, quotas, seed=seed
    )
    if (trees := learned.ranker.model.trees) is not None:
        found[peers.TREES] = peers.by_trees(trees.booster, history, bundle, ranked, quotas)
    return {**found, **models(history, bundle, ranked, quotas)}


def _kept(result: Result) -> Found:
    facts = {name: getattr(result, name) for name in _FACTS}
    return Found(facts, {"|".join(map(str, key)): ndcg for key, ndcg in result.ndcg.items()})


def _result(found: Found) -> Result:
    return Result(**found.facts, ndcg={_key(name): a for name, a in found.arrays.items()})


def _key(name: str) -> Key:
    system, label, k = name.split("|")
    return system, label, int(k)


_FACTS: Final = ("seed", "rows", "calibration", "seconds")
_CODE: Final = Code(())

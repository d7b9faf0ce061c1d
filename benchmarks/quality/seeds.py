"""One seed of one case: train both models, judge them beside the peers, remember the result.

A result lies on disk under the fingerprint of all that decides it (data, profile, code), so a
benchmark that was stopped goes on where it was. The code is that of the moment it was loaded: a
result of code that was changed meanwhile is told and not kept.

Shapes: `S` users of a slice.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.peers.environment import LIST, have_peers
from benchmarks.quality import peers, sequence
from benchmarks.quality.cases import Case, Progress, pool_of
from benchmarks.trained import trained
from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import PROJECT_ROOT, Workspace
from training.evaluate import catalogue_of, evaluate
from training.pipeline import Learned, page_actions
from training.profile import TrainingProfile
from training.reliability import calibration_rows
from training.revision import source_hash
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
    mark = _fingerprint(case, workspace, profile, with_sequence=with_sequence)
    folder = workspace.root / "results" / f"{case.name}-{profile.seed}-{mark[:16]}"
    if (folder / _FACTS).is_file():
        progress(f"{case.name}, seed {profile.seed}: remembered")
        return _read(folder)
    result = _run(case, workspace, profile, with_sequence=with_sequence, progress=progress)
    if _code() == _LOADED:
        _write(folder, result)
    else:
        progress("the code was changed meanwhile: the result is of the code before, and not kept")
    return result


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


#: What decides a result: code, and versions of what computes.
_SOURCES: Final = ("models", "training", "qianmian", "benchmarks/quality", "benchmarks/peers")
_TRAINED: Final = PROJECT_ROOT / "benchmarks" / "trained.py"
_LIBRARIES: Final = ("implicit", "lightgbm", "numpy", "onnxruntime", "scipy", "torch", "torchrec")
_FACTS, _NDCG = "facts.json", "ndcg.npz"


def _write(folder: Path, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"|".join(map(str, key)): a for key, a in result.ndcg.items()}
    np.savez(folder / _NDCG, **arrays)
    said = {
        "seed": result.seed,
        "rows": result.rows,
        "calibration": result.calibration,
        "seconds": result.seconds,
    }
    fresh = folder / f".{_FACTS}"
    fresh.write_text(json.dumps(said), encoding="utf-8")
    fresh.replace(folder / _FACTS)


def _read(folder: Path) -> Result:
    said = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    with np.load(folder / _NDCG) as arrays:
        ndcg = {_key(name): arrays[name] for name in arrays.files}
    return Result(**said, ndcg=ndcg)


def _key(name: str) -> Key:
    system, label, k = name.split("|")
    return system, label, int(k)


def _fingerprint(
    case: Case, workspace: Workspace, profile: TrainingProfile, *, with_sequence: bool
) -> str:
    parts = [
        case.name,
        (workspace.data / c.IMPORT_FILE).read_text(encoding="utf-8"),
        (workspace.data / c.DATASET_FILE).read_text(encoding="utf-8"),
        Dataset.open(workspace).since_import(),
        profile.model_dump_json(),
        _LOADED,
        LIST.read_text(encoding="utf-8") if with_sequence else "",
        *(f"{name} {version(name)}" for name in _LIBRARIES),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code() -> str:
    """Hash of the code on the disk."""
    return source_hash(_SOURCES) + hashlib.sha256(_TRAINED.read_bytes()).hexdigest()


_LOADED: Final = _code()

"""Evaluates a published release on the data that came after its split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from qianmian.data.store import Dataset
from qianmian.errors import ReleaseError
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.releases.manifest import MetricRow
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from training.evaluate import evaluate
from training.history import History
from training.profile import load_profile


def judge(
    workspace: Workspace,
    release: str,
    *,
    lists: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[MetricRow]:
    """Metric rows of a release and its baselines.

    Raises:
        ReleaseError: the release does not verify, or has seen data beyond the split.
    """
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    store = ReleaseStore(workspace.releases)
    manifest = store.get(release)
    store.verify(manifest.id, {s: repo.schema_hash(s) for s in manifest.feature_services})
    cut = dataset.spec.split.train_end.timestamp()
    if manifest.data_end.timestamp() > cut:
        raise ReleaseError(
            f"release {manifest.id} learned from events up to {manifest.data_end:%Y-%m-%d %H:%M}, "
            f"after the split at {dataset.spec.split.train_end:%Y-%m-%d %H:%M}: evaluating it "
            "there would measure memory; choose a release trained up to the split"
        )
    profile = load_profile(manifest.profile)
    with threadpool_limits(1, user_api="blas"):
        return evaluate(
            Bundle.load(store.path(manifest.id)),
            History(dataset, repo, moments=(cut,), cut=cut),
            dataset,
            quotas=profile.ranker.quotas,
            rng=np.random.default_rng(profile.seed),
            lists=lists,
            progress=progress,
        )

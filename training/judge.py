"""Evaluates a published release on the data that came after its split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from qianmian.data.store import Dataset
from qianmian.errors import ReleaseError, TrainingError
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.releases.manifest import MetricRow
from qianmian.releases.schema import current_schema
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from training.evaluate import evaluate
from training.history import History

_BOOTSTRAP_SEED = 17  # the same intervals each time


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
    store.verify(manifest.id, current_schema(workspace))
    cut = dataset.spec.split.train_end.timestamp()
    if manifest.data_end.timestamp() > cut:
        raise ReleaseError(
            f"release {manifest.id} learned from events up to {manifest.data_end:%Y-%m-%d %H:%M}, "
            f"after the split at {dataset.spec.split.train_end:%Y-%m-%d %H:%M}: evaluating it "
            "there would measure memory; choose a release trained up to the split"
        )
    with threadpool_limits(1, user_api="blas"):
        rows = evaluate(
            Bundle.load(store.path(manifest.id)),
            History(dataset, repo, moments=(cut,), cut=cut),
            dataset,
            quotas=manifest.quotas,
            rng=np.random.default_rng(_BOOTSTRAP_SEED),
            lists=lists,
            progress=progress,
        )
    if not rows:
        raise TrainingError(
            "nothing to evaluate: no target action after split.train_end in the data set; "
            "set an earlier split.train_end in dataset.yaml and train again"
        )
    return rows

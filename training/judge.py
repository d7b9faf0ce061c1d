"""Judges a release on the data that came after its split: at publishing and on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.errors import FieldError, ReleaseError, TrainingError, suggest
from qianmian.features import snapshots
from qianmian.features.attributes import Kind
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.releases.manifest import CalibrationRow, MetricRow
from qianmian.releases.schema import current_schema
from qianmian.releases.store import ReleaseStore
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import Workspace
from training.evaluate import catalogue_of, evaluate
from training.history import History
from training.machine import for_training
from training.reliability import calibration_rows, days_after
from training.segments import SEGMENT_TAGS
from training.subjects import refuse_a_known_future, subjects_of
from training.systems import baselines, models, ranked_items

_BOOTSTRAP_SEED = 17  # the same intervals each time


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an evaluation found."""

    metrics: list[MetricRow]
    calibration: list[CalibrationRow]


def judge(
    workspace: Workspace,
    release: str,
    *,
    by: Sequence[str] = (),
    lists: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Judge a release and its baselines, by segments of the user tags `by`, too.

    Raises:
        FieldError: one of them is no categorical tag of the data set.
        ReleaseError: the release does not verify, has seen data beyond the split, or knows other
            items than the data set; or the features of the split are not built.
        TrainingError: nothing came after the split, or a test event precedes a training event.
    """
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    tags = _segmenting(by, repo.schema.tag_kinds)
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
    if manifest.data_end.timestamp() < cut:
        progress(
            f"release {manifest.id} learned from events up to {manifest.data_end:%Y-%m-%d %H:%M}, "
            f"the baselines up to the split at {dataset.spec.split.train_end:%Y-%m-%d %H:%M}: "
            "train again to compare them on the same"
        )
    bundle = Bundle.load(store.path(manifest.id))
    if not bundle.tells_horizon:
        raise ReleaseError(
            f"release {manifest.id} was exported by an earlier version, whose ranker does not tell "
            "what is ordered within the horizon: train again to evaluate"
        )
    if snapshots.missing(workspace, [cut]):
        raise ReleaseError(
            f"the features of the split at {dataset.spec.split.train_end:%Y-%m-%d %H:%M} are not "
            "built: run `qianmian features build` and evaluate again"
        )
    history = History(dataset, repo, moments=(cut,), cut=cut)
    if not np.array_equal(bundle.items.item_ids, history.catalogue.item_ids):
        raise ReleaseError(
            f"release {manifest.id} knows {len(bundle.items):,} items, the data set now has "
            f"{len(history.catalogue):,}, and not the same: expected a release trained on the data "
            "as they are; train again"
        )
    if dataset.spec.split.by == "column":
        progress("the data set's own split: what it marks `valid` was trained on")
    with for_training():
        found = measure(
            bundle,
            history,
            dataset,
            quotas=manifest.quotas,
            horizon_days=manifest.horizon_days,
            page_actions=manifest.page_actions,
            tags=tags,
            lists=lists,
            progress=progress,
        )
    if not found.metrics:
        raise TrainingError(
            "nothing to evaluate: no target action after split.train_end in the data set (where "
            "users do not act on an item again, none on an item that was new to its user); set an "
            "earlier split.train_end in dataset.yaml and train again"
        )
    return found


def _segmenting(by: Sequence[str], kinds: Mapping[str, str]) -> tuple[str, ...]:
    """The tags that make segments: the usual ones and those asked for."""
    known = sorted(tag for tag, kind in kinds.items() if kind == Kind.CATEGORICAL.value)
    for tag in by:
        if tag not in known:
            expected = f"a categorical user tag of the data set ({', '.join(known)})"
            raise FieldError("--by", tag, expected + suggest(tag, known))
    return tuple(dict.fromkeys((*SEGMENT_TAGS, *by)))


def measure(
    bundle: Bundle,
    history: History,
    dataset: Dataset,
    *,
    quotas: SourceQuotas,
    horizon_days: float | None,
    page_actions: Collection[EventType] = (),
    tags: Sequence[str] = SEGMENT_TAGS,
    lists: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Judge a bundle beside the baselines; nothing where no target action came after the cut.

    Raises `TrainingError` when a test event precedes a training event.
    """
    refuse_a_known_future(dataset)
    subjects = list(subjects_of(history, dataset, tags=tags))
    if not subjects:
        return Judgement([], [])
    ranked = ranked_items(history)
    evaluation = evaluate(
        subjects,
        {**baselines(history, bundle, ranked), **models(history, bundle, ranked, quotas)},
        catalogue_of(history, ranked),
        item_ids=history.catalogue.item_ids,
        lists=lists,
        progress=progress,
    )
    calibration = []
    if horizon_days is not None and (days := days_after(history, dataset)) < horizon_days:
        progress(
            f"calibration is not measured: {days:.2f} days follow the split, and a probability "
            f"speaks of {horizon_days:g}"
        )
    elif horizon_days is not None:
        progress("measuring the calibration")
        calibration = calibration_rows(
            bundle,
            history,
            dataset,
            ranked,
            quotas=quotas,
            horizon_days=horizon_days,
            tags=tags,
            without={action for action in page_actions if action != history.target},
        )
    return Judgement(evaluation.rows(np.random.default_rng(_BOOTSTRAP_SEED)), calibration)

"""One training run: the history it learns from and the model, encoder and generators it shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qianmian.contracts import features as f
from qianmian.data.store import Dataset
from qianmian.distinct import distinct
from qianmian.errors import TrainingError
from qianmian.features import snapshots
from qianmian.features.encoding import UserEncoder
from qianmian.features.item_table import Int32
from qianmian.features.snapshot_files import show
from qianmian.features.store import FeatureRepo
from training.baselines import counts
from training.batches import ItemCodes
from training.factors import tuned_regularization
from training.history import History
from training.profile import TrainingProfile
from training.revision import code_revision
from training.two_tower import TwoTowerTrainer, build_model, start_process_group

Progress = Callable[[str], None]

_FEWEST_MOMENTS = 2  # one to learn from and one to propose at


@dataclass(slots=True)
class Run:
    """What the steps of one training run share."""

    history: History
    profile: TrainingProfile
    encoder: UserEncoder
    codes: ItemCodes
    trainer: TwoTowerTrainer
    rng: np.random.Generator
    progress: Progress
    regularization: float  # of item factors
    revision: str  # of the code, when the run began
    whole: float | None = None  # moment of which every candidate is kept, not a sample of negatives


def read_history(dataset: Dataset, repo: FeatureRepo, profile: TrainingProfile) -> History:
    """The history up to the split, at the moments of the profile that lie within the data.

    Raises `TrainingError` for data that is too short, and for moments whose features were not built
    from it: their users would look as if they had never done anything.
    """
    cut = dataset.spec.split.train_end.timestamp()
    moments = snapshots.schedule(cut, profile.snapshots.every_days, profile.snapshots.count)
    history = History(dataset, repo, moments=moments, cut=cut)
    first = float(history.targets.at[0])
    history.moments = tuple(m for m in history.moments if m > first)
    if len(history.moments) < _FEWEST_MOMENTS:
        raise TrainingError(
            f"the data before {dataset.spec.split.train_end:%Y-%m-%d} spans less than two moments "
            f"of {profile.snapshots.every_days:g} days; set snapshots.every_days lower in the "
            "training profile"
        )
    if missing := snapshots.missing(repo.workspace, history.moments):
        raise TrainingError(
            f"features of {len(missing)} of the profile's {len(history.moments)} moments are not "
            f"built, the first of {show(missing[0])}: "
            f"run `qianmian features build --profile {profile.name}` and train again"
        )
    return history


def prepare(history: History, profile: TrainingProfile, progress: Progress) -> Run:
    """Fit the encoder and build an untrained, sharded two-tower model."""
    start_process_group()
    rng = np.random.default_rng(profile.seed)
    everybody = history.known_users(history.cut)
    learned = distinct(history.targets.between(history.moments[0], history.cut).users)
    encoder = UserEncoder.fit(
        history.states(f.TWO_TOWER_SERVICE, everybody, history.cut),
        user_ids=history.user_ids[learned].astype(str),
        tag_kinds=history.tag_kinds,
        affinity_columns=history.affinity_columns,
    )
    codes = ItemCodes(history.catalogue, min_count=profile.two_tower.min_item_count)
    model = build_model(history.catalogue, encoder, profile.two_tower)
    progress(
        f"two-tower: {len(learned):,} users, {len(history.catalogue):,} items, "
        f"{sum(p.numel() for p in model.parameters()):,} weights"
    )
    regularization = tuned_regularization(
        history.targets,
        users=len(history.user_ids),
        items=len(history.catalogue),
        cut=history.cut,
        profile=profile.factors,
        seed=profile.seed,
    )
    choices = ", ".join(f"{choice:g}" for choice in profile.factors.regularizations)
    progress(f"item factors: regularization {regularization:g} of {choices}")
    return Run(
        history=history,
        profile=profile,
        encoder=encoder,
        codes=codes,
        trainer=TwoTowerTrainer(model, profile.two_tower, rng),
        rng=rng,
        progress=progress,
        regularization=regularization,
        revision=code_revision(),
    )


def codes_at(run: Run, moment: float, without: Int32 | None = None) -> ItemCodes:
    """Item codes with the id rows of the items known well enough at a moment.

    Items `without` a past have none.
    """
    before = run.history.targets.between(-np.inf, moment)
    times = counts(before, len(run.history.catalogue))
    if without is not None:
        times[without] = 0
    return run.codes.as_of(times)

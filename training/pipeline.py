"""The retrain journey, top to bottom: features as they were -> both models -> proof -> release.

    qianmian train --profile quick

1. read the history: events before the cut, features at weekly moments (Feast, point in time)
2. train the two-tower model through time, proposing candidates at the ranker's moments
3. train the ranker on those proposals and what followed
4. export both, prove parity, lay out the item table and vectors
5. evaluate against baselines and publish all of it as one release
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from models.ranker import Ranker
from qianmian.contracts import features as f
from qianmian.data.store import Dataset
from qianmian.errors import TrainingError
from qianmian.features.encoding import UserEncoder, item_dense
from qianmian.features.item_table import Int32
from qianmian.features.ranking_features import RankingFeatures
from qianmian.features.snapshots import schedule
from qianmian.features.store import FeatureRepo
from qianmian.features.user_state import SECONDS_PER_DAY, UserState
from qianmian.releases.bundle import ENCODER_FILE, ITEM_VECTORS_FILE, ITEMS_FILE, Bundle
from qianmian.releases.manifest import DataWindow, ReleaseFacts
from qianmian.releases.store import ReleaseStore
from qianmian.retrieval.sources import Pool
from qianmian.workspace import Workspace
from training.actions import items_by_user
from training.baselines import counts
from training.batches import ItemCodes
from training.checkpoint import Checkpoint, Progressed
from training.evaluate import evaluate
from training.export import export_ranker, export_user_tower, prove_parity, user_tower_module
from training.history import History, weekly
from training.profile import TrainingProfile
from training.proposals import Examples, examples_at, labels_after
from training.quiet import quiet_libraries
from training.ranker import fit_ranker
from training.revision import code_revision
from training.two_tower import TwoTowerTrainer, Week, build_model, start_process_group

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


def train(
    workspace: Workspace,
    profile: TrainingProfile,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> str:
    """Train, prove and publish; returns the id of the new release.

    With a `checkpoint` a run that was killed goes on where it was.

    NumPy's matrix products are small here and take turns with torch: one BLAS thread is several
    times faster than two that wait for each other.

    Raises:
        TrainingError: the data is too short or too poor for what the profile asks.
        FeatureStoreError: the features were not built.
    """
    with threadpool_limits(1, user_api="blas"), quiet_libraries():
        return _train(workspace, profile, progress, checkpoint)


def _train(
    workspace: Workspace,
    profile: TrainingProfile,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> str:
    seed_everything(profile.seed)
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    history = read_history(dataset, repo, profile)
    run = prepare(history, profile, progress)
    examples = fit_two_tower(run, checkpoint)
    progress(f"ranker: {len(examples.weights):,} labelled candidates of {len(examples.starts):,}")
    ranker = fit_ranker(
        examples,
        profile.ranker,
        target=history.predicted.index(history.target),
        rng=run.rng,
        progress=progress,
    )
    store = ReleaseStore(workspace.releases)
    with store.staging() as folder:
        facts = export(run, ranker, examples.features[:4096], folder, repo, dataset)
        release = store.publish(folder, facts)
    if checkpoint:
        checkpoint.clear()
    return release


def read_history(dataset: Dataset, repo: FeatureRepo, profile: TrainingProfile) -> History:
    """The history up to the split, at the moments of the profile that lie within the data."""
    cut = dataset.spec.split.train_end.timestamp()
    moments = schedule(cut, profile.snapshots.every_days, profile.snapshots.count)
    history = History(dataset, repo, moments=moments, cut=cut)
    first = float(history.targets.at[0])
    history.moments = tuple(m for m in history.moments if m > first)
    if len(history.moments) < _FEWEST_MOMENTS:
        raise TrainingError(
            f"the data before {dataset.spec.split.train_end:%Y-%m-%d} spans less than two moments "
            f"of {profile.snapshots.every_days:g} days; set snapshots.every_days lower in the "
            "training profile"
        )
    return history


def prepare(history: History, profile: TrainingProfile, progress: Progress) -> Run:
    """Fit the encoder and build an untrained, sharded two-tower model."""
    start_process_group()
    rng = np.random.default_rng(profile.seed)
    everybody = history.known_users(history.cut)
    encoder = UserEncoder.fit(
        history.states(f.TWO_TOWER_SERVICE, everybody, history.cut),
        tag_kinds=history.tag_kinds,
        affinity_columns=history.affinity_columns,
    )
    codes = ItemCodes(history.catalogue, min_count=profile.two_tower.min_item_count)
    model = build_model(history.catalogue, encoder, profile.two_tower)
    progress(
        f"two-tower: {len(everybody):,} users, {len(history.catalogue):,} items, "
        f"{sum(p.numel() for p in model.parameters()):,} weights"
    )
    trainer = TwoTowerTrainer(model, profile.two_tower, rng)
    return Run(history, profile, encoder, codes, trainer, rng, progress)


def fit_two_tower(run: Run, checkpoint: Checkpoint | None) -> Examples:
    """Train through time; returns the proposals made on the way, labelled."""
    history, profile = run.history, run.profile
    proposing = ranker_moments(history, profile)
    reached = checkpoint.restore(run.trainer, run.rng) if checkpoint else None
    if reached:
        run.progress(f"going on after {_day(reached.moment)}, where an earlier run was stopped")
    past: list[Week] = []
    parts: list[Examples] = []
    warm = reached.warm if reached else False
    for start, end in weekly(history.moments, history.cut):
        week = read_week(run, start, end)
        if checkpoint and reached and start <= reached.moment:
            past += [week] if week else []
            parts += [checkpoint.proposals(start)] if start in proposing else []
            continue
        if start in proposing:
            if not warm:
                warm_up(run, past)
                warm = True
            parts.append(proposals(run, start))
            run.progress(f"proposed candidates as of {_day(start)} ({len(parts)}/{len(proposing)})")
            if checkpoint:
                checkpoint.keep_proposals(start, parts[-1])
        if week and warm:
            learn(run, week, past)
            run.progress(f"two-tower learned the week of {_day(start)}")
        past += [week] if week else []
        if checkpoint and warm:
            checkpoint.save(Progressed(start, warm), run.trainer, run.rng)
    return Examples.join(parts)


def learn(run: Run, week: Week, past: list[Week]) -> None:
    """Learn a new week, after some older ones drawn at random so that they are not forgotten."""
    replayed = min(len(past), run.profile.two_tower.replay)
    for i in run.rng.choice(len(past), replayed, replace=False):
        run.trainer.fit(past[i])
    run.trainer.fit(week)


def ranker_moments(history: History, profile: TrainingProfile) -> tuple[float, ...]:
    """The last moments whose horizon ends before the cut, with weeks before them to learn from.

    Raises:
        TrainingError: the history is shorter than one horizon and two moments.
    """
    horizon = profile.ranker.horizon_days * SECONDS_PER_DAY
    usable = [m for m in history.moments[1:] if m + horizon <= history.cut + 1.0]
    if not usable:
        raise TrainingError(
            f"no moment lies {profile.ranker.horizon_days:g} days before the split with a week "
            "before it: set ranker.horizon_days or snapshots.every_days lower in the profile, or "
            "snapshots.count higher"
        )
    return tuple(usable[-min(profile.ranker.snapshots, max(1, len(usable) // 2)) :])


def warm_up(run: Run, past: list[Week]) -> None:
    """Learn the weeks before the ranker's span, several times, in the order of time."""
    if not past:
        return
    run.trainer.standardize(past)
    for epoch in range(run.profile.two_tower.epochs):
        losses = [loss for week in past for loss in run.trainer.fit(week)]
        run.progress(
            f"two-tower epoch {epoch + 1}/{run.profile.two_tower.epochs} over {len(past)} weeks: "
            f"loss {np.mean(losses):.4f}"
        )


def read_week(run: Run, start: float, end: float) -> Week | None:
    """Users with a target action in [start, end), as they were known at its start; None: no one."""
    acted = items_by_user(run.history.targets.between(start, end))
    if not acted:
        return None
    users = np.array(sorted(acted), dtype=np.int32)
    states = run.history.states(f.TWO_TOWER_SERVICE, users, start)
    positives = [acted[user] for user in users.tolist()]
    drawn = np.bincount(np.concatenate(positives), minlength=len(run.history.catalogue))
    return Week(
        inputs=run.encoder.encode(((state, start) for state in states), len(users)),
        positives=positives,
        item_dense=torch.from_numpy(item_dense(run.history.items(start), start)),
        codes=codes_at(run, start),
        share=torch.from_numpy(drawn / drawn.sum()).float(),
    )


def codes_at(run: Run, moment: float) -> ItemCodes:
    """Item codes with the id rows of the items known well enough at a moment."""
    before = run.history.targets.between(-np.inf, moment)
    return run.codes.as_of(counts(before, len(run.history.catalogue)))


def proposals(run: Run, moment: float) -> Examples:
    """Candidates for every known user as of a moment, labelled by what followed."""
    history = run.history
    items = history.items(moment)
    codes = codes_at(run, moment)
    vectors = run.trainer.item_vectors(torch.from_numpy(item_dense(items, moment)), codes)
    users = history.known_users(moment)
    states = list(history.states(f.RANKER_SERVICE, users, moment))
    inputs = run.encoder.encode(((state, moment) for state in states), len(states))
    user_vectors = run.trainer.user_vectors(inputs, len(states), codes)
    return examples_at(
        zip(users.tolist(), states, user_vectors, strict=True),
        moment=moment,
        pool=Pool.build(items, vectors, seen_items(history, moment)),
        features=RankingFeatures(items, vectors, run.encoder.affinity_columns, moment),
        labels=labels_after(history, moment, run.profile.ranker.horizon_days),
        profile=run.profile.ranker,
        rng=run.rng,
    )


def seen_items(history: History, moment: float) -> Int32:
    """Items with a target action before a moment."""
    return np.unique(history.targets.between(-np.inf, moment).items)


def export(
    run: Run,
    ranker: Ranker,
    features: np.ndarray,
    folder: Path,
    repo: FeatureRepo,
    dataset: Dataset,
) -> ReleaseFacts:
    """Write the files of a release and gather what is to be said of it."""
    history, cut = run.history, run.history.cut
    items = history.items(cut)
    run.progress("exporting to ONNX")
    codes = codes_at(run, cut)
    vectors = run.trainer.item_vectors(torch.from_numpy(item_dense(items, cut)), codes)
    items.save(folder / ITEMS_FILE)
    np.save(folder / ITEM_VECTORS_FILE, vectors)
    run.encoder.save(folder / ENCODER_FILE)
    sample = sample_states(history)
    inputs = run.encoder.encode(((state, cut) for state in sample), len(sample))
    module = user_tower_module(run.trainer.plain_model(), codes, list(inputs))
    export_user_tower(module, {name: a[:2] for name, a in inputs.items()}, folder)
    export_ranker(ranker, features.shape[1], folder)
    parity = prove_parity(module, ranker, inputs, vectors, features, folder)
    run.progress(
        f"parity: largest difference {max(o.max_abs_diff for o in parity.outputs):.1e}, "
        f"top-{parity.top_k} agreement {parity.top_k_agreement:.4f}, "
        f"{'passed' if parity.passed else 'FAILED'}"
    )
    bundle = Bundle.open(folder, actions=history.predicted, as_of=cut)
    metrics = evaluate(
        bundle,
        history,
        dataset,
        quotas=run.profile.ranker.quotas,
        rng=np.random.default_rng(run.profile.seed),
        progress=run.progress,
    )
    first = datetime.fromtimestamp(float(history.targets.at[0]), tz=UTC)
    return ReleaseFacts(
        created=datetime.now(tz=UTC),
        dataset=dataset.spec.name,
        profile=run.profile.name,
        code_revision=code_revision(),
        data_window=DataWindow(start=first, end=datetime.fromtimestamp(cut, tz=UTC)),
        feature_services={s: repo.schema_hash(s) for s in (f.TWO_TOWER_SERVICE, f.RANKER_SERVICE)},
        actions=history.predicted,
        dimensions={
            "items": len(items),
            "users": len(run.encoder.user_ids),
            "vector": vectors.shape[1],
            "ranking_features": features.shape[1],
        },
        metrics=tuple(metrics),
        parity=parity,
    )


def sample_states(history: History, size: int = 512) -> list[UserState]:
    """Users spread over the id space, and one of whom nothing is known."""
    users = history.known_users(history.cut)
    chosen = users[np.linspace(0, len(users) - 1, min(size, len(users))).astype(int)]
    known = list(history.states(f.TWO_TOWER_SERVICE, chosen, history.cut))
    return [*known, UserState.read("", None, history.catalogue, ())]


def seed_everything(seed: int) -> None:
    """Seed every generator that training draws from."""
    random.seed(seed)
    torch.manual_seed(seed)


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, tz=UTC):%Y-%m-%d}"

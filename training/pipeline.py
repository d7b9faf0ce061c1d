"""The retrain journey, top to bottom: features as they were -> both models -> proof -> release.

    qianmian train --profile quick

1. read the history: events before the cut, features at weekly moments (Feast, point in time)
2. train the two-tower model through time; at the ranker's moments item neighbours and factors are
   learned, too, and all of them propose candidates
3. train the ranker on those proposals and what followed
4. export both, prove parity, lay out the item table and vectors
5. evaluate against baselines and publish all of it as one release
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.errors import TrainingError
from qianmian.features.encoding import item_dense
from qianmian.features.store import FeatureRepo
from qianmian.features.user_state import UserState
from qianmian.releases.bundle import (
    ENCODER_FILE,
    FACTORS_FILE,
    ITEM_VECTORS_FILE,
    ITEMS_FILE,
    NEIGHBOURS_FILE,
    Bundle,
)
from qianmian.releases.erase import keep_users
from qianmian.releases.manifest import CalibrationRow, DataWindow, Parity, ReleaseFacts
from qianmian.releases.schema import release_schema
from qianmian.releases.store import ReleaseStore
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import Workspace
from training import teacher
from training.checkpoint import Checkpoint
from training.export import export_ranker, export_user_tower, prove_parity, user_tower_module
from training.history import History
from training.judge import Judgement, measure
from training.machine import for_training
from training.profile import TrainingProfile
from training.proposals import Examples
from training.quiet import quiet_libraries
from training.ranker import Task, TrainedRanker, fit_ranker
from training.run import Progress, Run, codes_at, prepare, read_history
from training.through_time import factors_at, fit_two_tower, neighbours_at


def train(
    workspace: Workspace,
    profile: TrainingProfile,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> str:
    """Train, prove and publish; returns the id of the new release.

    With a `checkpoint` a run that was killed goes on where it was.

    Raises:
        TrainingError: the data is too short or too poor for what the profile asks.
        FeatureStoreError: the features were not built.
    """
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    with for_training(), quiet_libraries():
        return _train(workspace, dataset, repo, profile, progress, checkpoint)


def _train(
    workspace: Workspace,
    dataset: Dataset,
    repo: FeatureRepo,
    profile: TrainingProfile,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> str:
    if (doubted := dataset.untrusted()).of:
        progress(f"{doubted}; they are left out" if doubted.event_ids else str(doubted))
    learned = learn(dataset, repo, profile, progress, checkpoint)
    run = learned.run
    store = ReleaseStore(workspace.releases)
    with store.staging() as folder:
        parity = export(learned, folder)
        quotas = SourceQuotas()  # what serving ranks
        bundle = Bundle.open(folder, actions=run.history.predicted, as_of=run.history.cut)
        found = judged(learned, bundle, dataset, quotas)
        forget_the_erased(folder, workspace, progress)
        release = store.publish(folder, facts(learned, bundle, dataset, repo, parity, found))
    if checkpoint:
        checkpoint.clear()
    return release


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run has learned, before it is exported."""

    run: Run
    examples: Examples
    ranker: TrainedRanker


def learn(
    dataset: Dataset,
    repo: FeatureRepo,
    profile: TrainingProfile,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> Learned:
    """Read the history and train both models on it."""
    seed_everything(profile.seed)
    if profile.ranker.teacher.trees:
        teacher.library()  # what is missing is told before the towers learn
    history = read_history(dataset, repo, profile)
    run = prepare(history, profile, progress)
    examples = fit_two_tower(run, checkpoint)
    progress(f"ranker: {len(examples.weights):,} labelled candidates of {len(examples.moments):,}")
    ranker = fit_ranker(
        examples,
        profile.ranker,
        Task.of(history),
        rng=run.rng,
        progress=progress,
    )
    return Learned(run, examples, ranker)


def export(learned: Learned, folder: Path) -> Parity:
    """Write the files of a release and prove that the graphs compute what torch computes."""
    run, proven = learned.run, learned.examples.first(_PROVEN_GROUPS)
    history, cut, ranker = run.history, run.history.cut, learned.ranker.model
    items = history.items(cut)
    run.progress("exporting to ONNX")
    codes = codes_at(run, cut)
    vectors = run.trainer.item_vectors(torch.from_numpy(item_dense(items, cut)), codes)
    items.save(folder / ITEMS_FILE)
    np.save(folder / ITEM_VECTORS_FILE, vectors)
    neighbours_at(run, cut).save(folder / NEIGHBOURS_FILE)
    factors_at(run, cut).save(folder / FACTORS_FILE)
    run.encoder.save(folder / ENCODER_FILE)
    sample = sample_states(history)
    inputs = run.encoder.encode(((state, cut) for state in sample), len(sample))
    module = user_tower_module(run.trainer.plain_model(), codes, list(inputs))
    export_user_tower(module, {name: a[:2] for name, a in inputs.items()}, folder)
    export_ranker(ranker, proven, folder)
    parity = prove_parity(module, ranker, inputs, vectors, proven, folder)
    run.progress(
        f"parity: largest difference {max(o.max_abs_diff for o in parity.outputs):.1e}, "
        f"top-{parity.top_k} agreement {parity.top_k_agreement:.4f}, "
        f"{'passed' if parity.passed else 'FAILED'}"
    )
    return parity


def forget_the_erased(folder: Path, workspace: Workspace, progress: Progress) -> None:
    """Take the names of users out who were erased from the data set since it was read."""
    there = Dataset.open(workspace).train_events([c.USER_ID])[c.USER_ID].astype(str).unique()
    if gone := keep_users(folder, there.tolist()):
        progress(f"users who were erased while this run learned, not named in the release: {gone}")


_PROVEN_GROUPS = 64  # of real candidates, run through both rankers


def facts(
    learned: Learned,
    bundle: Bundle,
    dataset: Dataset,
    repo: FeatureRepo,
    parity: Parity,
    found: Judgement,
) -> ReleaseFacts:
    """Gather what is to be said of a release."""
    run, history = learned.run, learned.run.history
    first = datetime.fromtimestamp(float(history.targets.at[0]), tz=UTC)
    return ReleaseFacts(
        created=datetime.now(tz=UTC),
        dataset=dataset.spec.name,
        profile=run.profile.name,
        code_revision=run.revision,
        data_window=DataWindow(start=first, end=datetime.fromtimestamp(history.cut, tz=UTC)),
        feature_services=release_schema(repo.schema),
        quotas=SourceQuotas(),
        actions=history.predicted,
        dimensions={
            "items": len(bundle.items),
            "users": len(run.encoder.user_ids),
            "vector": bundle.vectors.shape[1],
            "ranking_features": learned.examples.features.shape[1],
        },
        metrics=tuple(found.metrics),
        horizon_days=run.profile.ranker.horizon_days,
        page_actions=page_actions(learned),
        calibrated=dict(zip(history.predicted, learned.ranker.calibrated, strict=True)),
        calibration=tuple(found.calibration or rehearsed(learned)),
        parity=parity,
    )


def page_actions(learned: Learned) -> tuple[EventType, ...]:
    """The actions that logged pages taught."""
    told = zip(learned.run.history.predicted, learned.ranker.by_pages, strict=True)
    return tuple(action for action, by_pages in told if by_pages)


def rehearsed(learned: Learned) -> list[CalibrationRow]:
    """How chances held in the rehearsal, of what was calibrated by it.

    Where no horizon follows the split, that is what is known.
    """
    actions, ranker = learned.run.history.predicted, learned.ranker
    calibrated = [action for action, by in zip(actions, ranker.calibrated, strict=True) if by]
    rows = ranker.rehearsed.rows(actions, "rehearsal")
    return [row for row in rows if row.action in calibrated]


def judged(learned: Learned, bundle: Bundle, dataset: Dataset, quotas: SourceQuotas) -> Judgement:
    """Judge the unpublished release; where the data does not allow it, say so and go on."""
    run = learned.run
    try:
        found = measure(
            bundle,
            run.history,
            dataset,
            quotas=quotas,
            horizon_days=run.profile.ranker.horizon_days,
            page_actions=page_actions(learned),
            progress=run.progress,
        )
    except TrainingError as error:
        run.progress(f"published without metrics: {error}")
        return Judgement([], [])
    if not found.metrics:
        run.progress("no target action after the split to judge by: published without metrics")
    return found


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

"""The two-tower trainer under Ray Train: the same model, its tables sharded over workers.

Each worker takes its share of a week's users; `DistributedModelParallel` on gloo holds a shard of
the tables in each process, exchanges the looked-up rows and averages the dense gradients. The
learned weeks are those of an ordinary run, so the loss curve can be held against one worker's.

Used by `python -m benchmarks.distributed`; `qianmian train` itself runs one worker in its process.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from qianmian.data.store import Dataset
from qianmian.features.store import FeatureRepo
from qianmian.workspace import Workspace
from training.history import weekly
from training.machine import for_training
from training.pipeline import seed_everything
from training.profile import TrainingProfile
from training.quiet import quiet_libraries
from training.run import Run, prepare, read_history
from training.through_time import read_week
from training.two_tower import Week


@dataclass(frozen=True, slots=True)
class Curve:
    """What one run over `workers` processes gave."""

    workers: int
    held_out: list[float]  # loss on the held-out week before training and after each epoch
    samples_per_second: float
    placement: dict[str, list[int]]  # rows of each table in each worker


def run_on(workspace: Workspace, profile: TrainingProfile, *, workers: int, weeks: int) -> Curve:
    """Train on `weeks` weeks before the last one, which is held out; needs a Ray that runs.

    The steps of a worker take its share of `users_per_batch`, so a step of all workers sees as
    many users as a step of one.
    """
    with tempfile.TemporaryDirectory() as place:
        trainer = TorchTrainer(
            _work,
            train_loop_config={
                "root": str(workspace.root),
                "dataset": workspace.dataset,
                "profile": profile.model_dump_json(),
                "weeks": weeks,
                "place": place,
            },
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            torch_config=TorchConfig(backend="gloo"),
            run_config=RunConfig(storage_path=place),
        )
        trainer.fit()
        state = torch.load(Path(place) / _RESULT, weights_only=True)
    return Curve(workers=workers, **state)


_RESULT = "curve.pt"


def _work(config: dict[str, Any]) -> None:
    """What each worker of Ray Train does."""
    profile = TrainingProfile.model_validate_json(config["profile"])
    workspace = Workspace(Path(config["root"]), config["dataset"])
    found = learn_together(workspace, profile, weeks=config["weeks"])
    if dist.get_rank() == 0:
        torch.save(found, Path(config["place"]) / _RESULT)


def learn_together(workspace: Workspace, profile: TrainingProfile, *, weeks: int) -> dict[str, Any]:
    """This process's part of a run, in the process group that it is in; the fields of a `Curve`."""
    rank, world = dist.get_rank(), dist.get_world_size()
    two_tower = profile.two_tower
    shared = two_tower.model_copy(update={"users_per_batch": two_tower.users_per_batch // world})
    torch.set_num_threads(1)
    with for_training(), quiet_libraries():
        seed_everything(profile.seed)
        dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
        history = read_history(dataset, repo, profile)
        run = prepare(history, profile.model_copy(update={"two_tower": shared}), lambda _: None)
        spans = list(weekly(history.moments, history.cut))[-weeks - 1 :]
        read = [week for start, end in spans if (week := read_week(run, start, end))]
        held_out, parts = read[-1], [share_of(week, rank, world) for week in read[:-1]]
        run.trainer.standardize(read[:-1])
        run.trainer.reseed(np.random.default_rng([profile.seed, rank]))
        losses = [run.trainer.loss(held_out)]
        began = time.perf_counter()
        for _ in range(two_tower.epochs):
            for part in parts:
                run.trainer.fit(part)
            losses.append(run.trainer.loss(held_out))
        spent = time.perf_counter() - began
        most = two_tower.positives_per_user
        pairs = sum(min(len(p), most) for part in parts for p in part.positives)
        return {
            "held_out": losses,
            "samples_per_second": two_tower.epochs * pairs * world / spent,
            "placement": _placement(run, world),
        }


def share_of(week: Week, rank: int, world: int) -> Week:
    """Every `world`-th user of a week from `rank` on; all shares are equally large."""
    rows = np.arange(rank, len(week.positives) // world * world, world)
    return replace(
        week,
        inputs={name: values[rows] for name, values in week.inputs.items()},
        positives=[week.positives[row] for row in rows],
    )


def _placement(run: Run, world: int) -> dict[str, list[int]]:
    """Rows of each table that each worker holds."""
    mine = run.trainer.local_rows()
    gathered: list[Any] = [None] * world
    dist.all_gather_object(gathered, mine)
    return {name: [int(rows.get(name, 0)) for rows in gathered] for name in mine}

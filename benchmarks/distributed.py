"""Distributed training: the two-tower trainer by Ray Train, one worker against two.

    python -m benchmarks.distributed > distributed.json

Progress goes to stderr, one JSON object to stdout. Needs the data set and its features. Both runs
learn the same weeks with the same global batch; with two workers the tables are sharded by
`DistributedModelParallel` on gloo. `curves` holds the loss on a held-out week before training and
after each epoch, for each number of workers and seed; `largest_gap` is the largest relative
difference between the means of one and two workers, `noise` the largest between two seeds of one.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict

import numpy as np

from benchmarks import command
from qianmian.workspace import Workspace
from training.distributed import Curve, run_on
from training.profile import TrainingProfile, load_profile

WORKERS = (1, 2)


def main() -> None:
    """Run every number of workers and seed and print."""
    options = _options()
    import ray

    profile = load_profile("quick")
    two_tower = profile.two_tower.model_copy(update={"epochs": options.epochs})
    profile = profile.model_copy(update={"two_tower": two_tower})
    workspace = Workspace(options.home.resolve(), options.dataset)
    ray.init(num_cpus=max(WORKERS) + 1, include_dashboard=False, logging_level=logging.ERROR)
    try:
        curves = [
            _run(workspace, profile.model_copy(update={"seed": seed}), workers, options.weeks)
            for workers in WORKERS
            for seed in options.seeds
        ]
    finally:
        ray.shutdown()
    means = {n: np.mean([c.held_out for c in curves if c.workers == n], axis=0) for n in WORKERS}
    ones = np.array([c.held_out for c in curves if c.workers == 1])
    noise = float((np.ptp(ones, axis=0) / ones.mean(axis=0)).max())
    report = {
        "largest_gap": float((np.abs(means[2] - means[1]) / means[1]).max()),
        "noise": noise,
        "curves": [asdict(curve) for curve in curves],
        "weeks": options.weeks,
        "seeds": options.seeds,
    }
    command.report(report)


def _run(workspace: Workspace, profile: TrainingProfile, workers: int, weeks: int) -> Curve:
    curve = run_on(workspace, profile, workers=workers, weeks=weeks)
    shown = ", ".join(f"{loss:.4f}" for loss in curve.held_out)
    command.say(f"{workers} workers, seed {profile.seed}: {shown}")
    return curve


def _options() -> argparse.Namespace:
    parser = command.parser("distributed", __doc__)
    command.add_workspace(parser)
    parser.add_argument(
        "--weeks", type=command.count, default=4, help="weeks learned; one more is held out"
    )
    parser.add_argument("--epochs", type=command.at_least(0), default=3)
    parser.add_argument("--seeds", nargs="+", type=int, default=[17, 18], metavar="SEED")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

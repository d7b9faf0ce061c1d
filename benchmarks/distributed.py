"""Distributed training: the two-tower trainer by Ray Train, one worker against two.

    python -m benchmarks.distributed > distributed.json

Progress goes to stderr, one JSON object to stdout. Needs the data set and its features. Both runs
learn the same weeks with the same global batch; with two workers the tables are sharded by
`DistributedModelParallel` on gloo. `curves` holds the loss on a held-out week, as training
minimizes it, before training and after each epoch, for each number of workers and seed. `fall` is
how much one worker lowers it, the mean over the seeds; `gap` is the loss of two workers minus that
of one at the end, as a share of that fall, with the 95 % interval of the paired seeds (Student's
t): two workers that learn nothing have a gap of 1.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict

import numpy as np
from scipy import stats

from benchmarks import command
from qianmian.workspace import Workspace
from training.distributed import Curve, run_on
from training.profile import TrainingProfile, load_profile

WORKERS = (1, 2)
_FEWEST_SEEDS = 2


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
    one, two = (np.array([c.held_out for c in curves if c.workers == n]) for n in WORKERS)
    report = {
        **comparison(one, two),
        "curves": [asdict(curve) for curve in curves],
        "weeks": options.weeks,
        "seeds": options.seeds,
    }
    command.report(report)


def comparison(one_SE: np.ndarray, two_SE: np.ndarray) -> dict[str, float]:
    """How the curves of two workers end beside those of one, by seed `S` and epoch `E`."""
    fall = float((one_SE[:, 0] - one_SE[:, -1]).mean())
    gaps = (two_SE[:, -1] - one_SE[:, -1]) / fall
    seeds = len(gaps)
    half = stats.t.ppf(0.975, seeds - 1) * gaps.std(ddof=1) / np.sqrt(seeds)
    gap = float(gaps.mean())
    return {"fall": fall, "gap": gap, "gap_low": gap - float(half), "gap_high": gap + float(half)}


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
    parser.add_argument("--epochs", type=command.count, default=6)
    command.add_seeds(parser, command.SEEDS)
    options = parser.parse_args()
    if len(options.seeds) < _FEWEST_SEEDS:
        parser.error(f"--seeds: expected {_FEWEST_SEEDS} or more for an interval")
    return options


if __name__ == "__main__":
    command.run(main)

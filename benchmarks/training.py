"""Training: samples a second of our two-tower trainer and of torch-rechub's, in one run.

    python -m benchmarks.training > training.json

Progress goes to stderr, one JSON object to stdout. Needs the data set and its features (`qianmian
data import`, `qianmian features build`); the other side's packages are installed when it first
runs. A sample is a positive (user, item) pair. Both sides train on the same weeks, with the same
ids, attributes, tags, histories and dense features, the same widths and as many pairs a step, on
one machine in turns. Ours: TorchRec with a fused row-wise Adagrad, each user encoded once a step
for all its pairs, in-batch and uniform negatives. Theirs: DSSM with in-batch negatives by
`MatchTrainer`, once through its own data loader and once with batches made beforehand; `ratio` is
against the faster of the two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from benchmarks import command
from benchmarks.peers.environment import peer_command
from models.two_tower import TAG_TOKENS
from qianmian.data.store import Dataset
from qianmian.features.store import FeatureRepo
from qianmian.workspace import Workspace
from training.batches import item_batch, user_batch
from training.history import weekly
from training.profile import load_profile
from training.quiet import quiet_libraries
from training.run import Run, prepare, read_history
from training.through_time import read_week
from training.two_tower import Week

SCRIPT: Final = "rechub.py"


def main() -> None:
    """Measure both and print."""
    options = _options()
    profile = load_profile("quick")
    workspace = Workspace(options.home, options.dataset)
    with quiet_libraries(), tempfile.TemporaryDirectory() as place:
        dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
        history = read_history(dataset, repo, profile)
        run = prepare(history, profile, command.say)
        spans = list(weekly(history.moments, history.cut))[-options.weeks :]
        weeks = [week for start, end in spans if (week := read_week(run, start, end))]
        run.trainer.standardize(weeks)
        pairs = Path(place) / "pairs.npz"
        batch = _write_pairs(run, weeks, pairs, options.pairs)
        rounds = []
        for turn in range(options.rounds):
            ours = _ours(run, weeks, options.seconds)
            theirs = _theirs(pairs, options.seconds)
            best = max(theirs.values())
            command.say(f"round {turn + 1}: {ours:,.0f} samples/s, torch-rechub {theirs}")
            rounds.append({"ours": ours, **theirs, "ratio": ours / best})
    medians = {name: float(np.median([r[name] for r in rounds])) for name in rounds[0]}
    report = {
        "ratio": medians.pop("ratio"),
        "samples_per_second": medians,
        "rounds": rounds,
        "pairs_per_step": batch,
        "width": profile.two_tower.width,
        "items": len(history.catalogue),
        "users": len(run.encoder.user_ids),
    }
    command.report(report)


def _ours(run: Run, weeks: list[Week], seconds: float) -> float:
    """Pairs a second: every user of a week brings at most `positives_per_user` of them."""
    most = run.profile.two_tower.positives_per_user
    run.trainer.fit(weeks[0])  # warms up
    done, began = 0, perf_counter()
    while (spent := perf_counter() - began) < seconds:
        for week in weeks:
            run.trainer.fit(week)
            done += _pairs(week, most)
    return done / spent


def _pairs(week: Week, most: int) -> int:
    return sum(min(len(positives), most) for positives in week.positives)


def _theirs(pairs: Path, seconds: float) -> dict[str, float]:
    asked, env = peer_command(SCRIPT, str(pairs), str(seconds))
    done = subprocess.run(asked, env=env, check=True, capture_output=True, text=True)
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {f"torch_rechub_{name}": rate for name, rate in rates.items()}


def _write_pairs(run: Run, weeks: list[Week], path: Path, most: int) -> int:
    """Write the weeks as one row a pair, and what their library needs to know; gives the batch."""
    rng, profile = np.random.default_rng(0), run.profile.two_tower
    parts, steps, total = [], 0, 0
    for week in weeks:
        kept = [rng.permutation(p)[: profile.positives_per_user] for p in week.positives]
        rows = np.repeat(np.arange(len(kept)), [len(items) for items in kept])
        items = np.concatenate(kept)
        total += len(rows)
        steps += max(1, round(len(kept) / profile.users_per_batch))
        few = rng.permutation(len(rows))[: most // len(weeks)]
        batch = user_batch(week.inputs, rows[few], week.codes)
        batch |= item_batch(items[few], week.item_dense, week.codes)
        parts.append({name: batch[name].numpy() for name in batch})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    tables = run.trainer.plain_model().embeddings.collection.embedding_configs()
    arrays: dict[str, Any] = {}
    user: list[dict[str, Any]] = []
    item: list[dict[str, Any]] = []
    for table in tables:
        for feature in table.feature_names:
            for spec, values in _columns(feature, columns[feature], table.feature_names[0]):
                side = item if feature.startswith("item_") else user
                side.append({**spec, "size": table.num_embeddings})
                arrays[spec["name"]] = values
    for name, side in (("user_dense", user), ("item_dense", item)):
        side.append({"name": name, "kind": "dense", "size": columns[name].shape[1]})
        arrays[name] = columns[name]
    batch_size = min(total // steps, len(columns["user_dense"]))
    about = {
        "batch": batch_size,
        "width": profile.width,
        "user_hidden": profile.user_hidden,
        "item_hidden": profile.item_hidden,
        "dropout": profile.dropout,
        "user": user,
        "item": item,
    }
    np.savez(path, about=json.dumps(about), **arrays)
    return batch_size


def _columns(name: str, values: np.ndarray, table: str) -> list[tuple[dict[str, Any], np.ndarray]]:
    """One id feature as their library takes it: tags one by one, lists as sequences."""
    if name == TAG_TOKENS:
        return [
            ({"name": f"{name}_{i}", "table": f"{name}_0", "kind": "sparse"}, values[:, i])
            for i in range(values.shape[1])
        ]
    kind = "sparse" if values.ndim == 1 else "sequence"
    return [({"name": name, "table": table, "kind": kind}, values)]


def _options() -> argparse.Namespace:
    parser = command.parser("training", __doc__)
    command.add_workspace(parser)
    parser.add_argument(
        "--weeks", type=command.count, default=4, help="the last weeks before the split"
    )
    parser.add_argument(
        "--pairs", type=command.count, default=40_000, help="pairs that theirs draws from"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each side and round")
    parser.add_argument("--rounds", type=command.count, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

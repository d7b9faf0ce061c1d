"""Scale: memory and time of the two-tower model against the number of items.

    python -m benchmarks.scale > scale.json

Progress goes to stderr, one JSON object to stdout. Synthetic ids: items with a category and a
brand, users with histories drawn from a long-tailed popularity. Each size runs in a process of its
own, so its peak memory is its own. `growth` fits `log value = a + b log items`: b is 0 where the
number of items does not matter and 1 where cost is in proportion.

- `step_ms`: one training step (768 users, their positives, 2,048 uniform negatives)
- `catalogue_s`: vectors of all items; `pool_mb`: those vectors in memory
- `search_ms`: one user's exact first 500 of all items, one thread
- `peak_mb`: resident memory at its peak; `table_mb`: weights of the tables
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from time import perf_counter
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import command

SIZES: Final = (10_000, 100_000, 1_000_000)
MEASURES: Final = ("step_ms", "catalogue_s", "search_ms", "pool_mb", "table_mb", "peak_mb")
USERS: Final = 3_000
POSITIVES: Final = 12
CATEGORIES, BRANDS = 300, 3_000
MB: Final = 1_048_576


def main() -> None:
    """Measure every size in a process of its own and print."""
    options = _options()
    if options.one:
        print(json.dumps(measure(options.one, options.steps)))
        return
    rows = []
    for size in options.sizes:
        alone = [sys.executable, "-m", "benchmarks.scale", "--one", str(size)]
        alone += ["--steps", str(options.steps)]
        done = subprocess.run(alone, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        command.say(str(rows[-1]))
    report = {
        "rows": rows,
        "growth": {name: _growth(rows, name) for name in MEASURES},
        "users": USERS,
    }
    command.report(report)


def measure(size: int, steps: int) -> dict[str, Any]:
    """What one size costs."""
    from qianmian.features.encoding import UserEncoder
    from qianmian.retrieval.sources import top_k
    from training.batches import ItemCodes
    from training.profile import load_profile
    from training.quiet import quiet_libraries
    from training.two_tower import TwoTowerTrainer, build_model, start_process_group

    profile = load_profile("quick").two_tower
    rng = np.random.default_rng(0)
    with quiet_libraries():
        start_process_group()
        items = _items(size, rng)
        encoder = UserEncoder(
            user_ids=tuple(f"u{i:07d}" for i in range(USERS)),
            tag_columns=(),
            tag_tokens=(),
            affinity_columns=(),
        )
        model = build_model(items, encoder, profile)
        tables = sum(p.numel() * p.element_size() for p in model.embeddings.parameters())
        trainer = TwoTowerTrainer(model, profile, rng)
        codes = ItemCodes(items, min_count=1).as_of(np.ones(size))
        week = _week(size, encoder.empty(USERS), codes, rng)
        trainer.standardize([week])
        trainer.fit(week)  # warms up
        taken, began = 0, perf_counter()
        while taken < steps:
            taken += len(trainer.fit(week))
        step_ms = (perf_counter() - began) / taken * 1e3
        began = perf_counter()
        vectors = trainer.item_vectors(week.item_dense, codes)
        catalogue_s = perf_counter() - began
        user = trainer.user_vectors(week.inputs, 1, codes)[0]
        spans = []
        with threadpool_limits(1, user_api="blas"):
            for _ in range(20):
                began = perf_counter()
                top_k(vectors @ user, 500)
                spans.append(perf_counter() - began)
    return {
        "items": size,
        "step_ms": round(step_ms, 2),
        "catalogue_s": round(catalogue_s, 3),
        "search_ms": round(float(np.median(spans)) * 1e3, 3),
        "pool_mb": round(vectors.nbytes / MB, 1),
        "table_mb": round(tables / MB, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _items(size: int, rng: np.random.Generator) -> Any:
    import pandas as pd

    from qianmian.contracts import columns as c
    from qianmian.features.item_table import ItemTable

    frame = pd.DataFrame(
        {
            c.ITEM_ID: [f"i{i:08d}" for i in range(size)],
            c.TITLE: "",
            c.CATEGORY: [f"c{k}" for k in rng.integers(0, CATEGORIES, size)],
            c.BRAND: [f"b{k}" for k in rng.integers(0, BRANDS, size)],
        }
    )
    return ItemTable.from_profile(frame, [c.CATEGORY, c.BRAND])


def _week(size: int, inputs: dict[str, Any], codes: Any, rng: np.random.Generator) -> Any:
    """Users with histories and positives of a long-tailed popularity."""
    import torch

    from qianmian.features import encoding as e
    from training.two_tower import Week

    def drawn(count: int) -> np.ndarray:
        return (size * rng.power(0.3, count)).astype(np.int64)  # many of the first, few of the last

    recent = inputs[e.RECENT_ITEMS]
    inputs[e.USER_ROW] = np.arange(1, USERS + 1)
    inputs[e.RECENT_ITEMS] = drawn(recent.size).reshape(recent.shape) + 1
    inputs[e.RECENT_CODES] = np.full(recent.shape, 5)
    inputs[e.RECENT_DAYS] = rng.random(recent.shape, dtype=np.float32) * 4
    inputs[e.DENSE] = rng.random(inputs[e.DENSE].shape, dtype=np.float32)
    positives = [np.unique(drawn(POSITIVES)).astype(np.int32) for _ in range(USERS)]
    shares = np.bincount(np.concatenate(positives), minlength=size)
    width = len(e.ITEM_DENSE_FEATURES)
    return Week(
        inputs=inputs,
        positives=positives,
        item_dense=torch.from_numpy(rng.random((size, width), dtype=np.float32)),
        codes=codes,
        share=torch.from_numpy(shares / shares.sum()).float(),
    )


def _growth(rows: list[dict[str, Any]], name: str) -> float:
    """Slope of log value over log items."""
    if len(rows) == 1:
        return 0.0
    items, values = ([max(row[key], 1e-9) for row in rows] for key in ("items", name))
    return round(float(np.polyfit(np.log(items), np.log(values), 1)[0]), 3)


def _options() -> argparse.Namespace:
    parser = command.parser("scale", __doc__)
    parser.add_argument(
        "--sizes", nargs="+", type=command.count, default=list(SIZES), metavar="ITEMS"
    )
    parser.add_argument("--steps", type=command.count, default=30)
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

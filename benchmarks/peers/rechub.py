"""torch-rechub's two-tower: `rechub.py PAIRS SECONDS`, run with var/peers before everything.

PAIRS is a `.npz` that `benchmarks.training` writes: one row a (user, item) pair, with the same
features, vocabularies and widths as ours. Trains DSSM with in-batch negatives by the library's
`MatchTrainer` for about SECONDS and prints a JSON object: samples/s through its own data loader,
and with batches made beforehand, which leaves the model and the optimizer alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch


def main(pairs: str, seconds: float) -> None:
    """Train and print."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    torch.manual_seed(0)
    with np.load(pairs) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    said = json.loads(str(data.pop("about")))
    trainer = _trainer(said)
    x = {name: torch.from_numpy(a) for name, a in data.items()}
    size, batch = len(data["user_dense"]), said["batch"]
    loader = importlib.import_module("torch_rechub.utils.data").MatchDataGenerator(
        data, np.zeros(size, dtype=np.int64)
    )
    chunks = torch.randperm(size).split(batch)
    ready = [({n: v[c] for n, v in x.items()}, torch.zeros(len(c))) for c in chunks]
    made = loader.generate_dataloader(_few(data), _few(data), batch_size=batch, num_workers=0)[0]
    print(
        json.dumps(
            {
                "own_loader": _rate(trainer, made, seconds, batch),
                "ready_batches": _rate(trainer, ready, seconds, batch),
            }
        )
    )


def _rate(trainer: Any, batches: Any, seconds: float, batch: int) -> float:
    """Samples a second of as many full batches as fit, after one to warm up."""
    one: list[Any] = []
    began, done, pending = 0.0, 0, iter(batches)
    while True:
        one = [next(pending, None)]
        if one[0] is None or len(one[0][1]) < batch:
            pending = iter(batches)
            continue
        trainer.train_one_epoch(one)
        done += 1
        if done == 1:
            began = time.perf_counter()
        elif (spent := time.perf_counter() - began) > seconds:
            return (done - 1) * batch / spent


def _few(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: a[:2] for name, a in data.items()}


def _trainer(said: dict[str, Any]) -> Any:
    features = importlib.import_module("torch_rechub.basic.features")
    width = said["width"]

    def of(spec: dict[str, Any]) -> Any:
        if spec["kind"] == "dense":
            return features.DenseFeature(spec["name"], embed_dim=spec["size"])
        shared = {"shared_with": spec["table"]} if spec["table"] != spec["name"] else {}
        if spec["kind"] == "sequence":
            return features.SequenceFeature(
                spec["name"], spec["size"], width, pooling="mean", padding_idx=0, **shared
            )
        return features.SparseFeature(spec["name"], spec["size"], width, **shared)

    dssm = importlib.import_module("torch_rechub.models.matching").DSSM
    model = dssm(
        [of(spec) for spec in said["user"]],
        [of(spec) for spec in said["item"]],
        user_params={"dims": [*said["user_hidden"], width], "dropout": said["dropout"]},
        item_params={"dims": [*said["item_hidden"], width], "dropout": said["dropout"]},
    )
    trainers = importlib.import_module("torch_rechub.trainers")
    return trainers.MatchTrainer(model, mode=0, in_batch_neg=True, optimizer_params={"lr": 1e-3})


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

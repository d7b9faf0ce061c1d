"""RecTools' SASRec: `sasrec.py ACTIONS USERS LISTS SEED`, run with var/peers before everything.

ACTIONS (Parquet): user_id, item_id, timestamp (epoch seconds). USERS: user_id. Writes LISTS:
user_id, item_id, score, the best items of each user, items acted on before included.
"""

from __future__ import annotations

import importlib
import sys

import pandas as pd

LENGTH, DEPTH = 100, 200  # actions read of a user; items listed


def main(actions: str, users: str, lists: str, seed: int) -> None:
    """Train on the actions and list for the users."""
    lightning = importlib.import_module("pytorch_lightning")
    dataset_of = importlib.import_module("rectools.dataset").Dataset
    model_of = importlib.import_module("rectools.models").SASRecModel
    lightning.seed_everything(seed)
    table = pd.read_parquet(actions)
    table["datetime"] = pd.to_datetime(table.pop("timestamp"), unit="s")
    table["weight"] = 1.0
    data = dataset_of.construct(table)
    model = model_of(
        n_factors=128,
        n_blocks=2,
        n_heads=2,
        session_max_len=LENGTH,
        loss="sampled_softmax",
        n_negatives=128,
        batch_size=128,
        epochs=10,
        lr=1e-3,
        recommend_torch_device="cpu",
    )
    model.fit(data)
    wanted = pd.read_parquet(users)["user_id"].to_numpy()
    found = model.recommend(
        users=wanted, dataset=data, k=DEPTH, filter_viewed=False, on_unsupported_targets="ignore"
    )
    found[["user_id", "item_id", "score"]].to_parquet(lists)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))

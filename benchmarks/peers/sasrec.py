"""RecTools' SASRec: `sasrec.py ACTIONS USERS ITEMS LISTS SEED`, with var/peers before everything.

ACTIONS (Parquet): user_id (whole numbers), item_id, timestamp (epoch seconds). USERS: user_id.
ITEMS: item_id, what may be listed. Writes LISTS: user_id, item_id, score, the best of these items
for each user, those acted on before included.

The library learns from the last actions of each user alone. So a history comes as several
sequences, each as long as it reads, the newest one asked for what follows; an item stands once in a
moment. It is trained until the loss on what came last for a tenth of the users stops falling, or
for MINUTES, and the best weights are kept.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LENGTH, DEPTH = 100, 1000  # actions read of a sequence; items listed
EPOCHS, PATIENCE, MINUTES = 60, 3, 20  # at most; without a better loss; of training
HELD_OUT = 10  # the last action of every so many-th user judges the loss
SEQUENCES = 100_000  # of a user, at most: sequence 0 of user u, the newest, is u * SEQUENCES


def main(actions: str, users: str, items: str, lists: str, seed: int) -> None:
    """Train on the actions and list for the users."""
    lightning = importlib.import_module("pytorch_lightning")
    dataset_of = importlib.import_module("rectools.dataset").Dataset
    model_of = importlib.import_module("rectools.models").SASRecModel
    lightning.seed_everything(seed)
    data = dataset_of.construct(sequences(pd.read_parquet(actions)))
    model = model_of(
        n_factors=64,
        n_blocks=2,
        n_heads=2,
        session_max_len=LENGTH,
        loss="sampled_softmax",
        n_negatives=64,
        batch_size=32,
        lr=1e-3,
        recommend_torch_device="cpu",
        get_val_mask_func=last_of_some,
        get_trainer_func=trainer,
        get_trainer_func_kwargs={"place": str(Path(lists).parent)},
    )
    model.fit(data)
    kept = model.fit_trainer.checkpoint_callback
    if not kept.best_model_path:
        sys.exit(f"SASRec: not one epoch within {MINUTES} minutes; free the cores and try again")
    model.load_weights_from_checkpoint(kept.best_model_path)
    best = float(kept.best_model_score)
    print(f"SASRec: {model.fit_trainer.current_epoch} epochs, best held-out loss {best:.3f}")
    wanted = pd.read_parquet(users)["user_id"].to_numpy() * SEQUENCES
    found = model.recommend(
        users=wanted,
        dataset=data,
        k=DEPTH,
        filter_viewed=False,
        items_to_recommend=pd.read_parquet(items)["item_id"].to_numpy(),
        on_unsupported_targets="ignore",
    )
    found["user_id"] //= SEQUENCES
    found[["user_id", "item_id", "score"]].to_parquet(lists)


def sequences(table: pd.DataFrame) -> pd.DataFrame:
    """Histories cut into sequences, counted from the newest, as the library wants them."""
    table = table.sort_values(["user_id", "timestamp"], kind="stable")
    table = table.drop_duplicates(["user_id", "timestamp", "item_id"])
    age = table.groupby("user_id").cumcount(ascending=False)
    table["user_id"] = table["user_id"].astype(np.int64) * SEQUENCES + age // (LENGTH + 1)
    table["datetime"] = pd.to_datetime(table.pop("timestamp"), unit="s")
    table["weight"] = 1.0
    return table


def last_of_some(interactions: pd.DataFrame) -> np.ndarray:
    """Mask of the actions that judge the loss; the library gives users by our numbers."""
    last = ~interactions.duplicated("user_id", keep="last")
    mask: np.ndarray = (last & (interactions["user_id"] % (HELD_OUT * SEQUENCES) == 0)).to_numpy()
    return mask


def trainer(place: str) -> Any:
    """A trainer that stops when the loss does not fall any more, and keeps the best in `place`."""
    lightning = importlib.import_module("pytorch_lightning")
    callbacks = importlib.import_module("pytorch_lightning.callbacks")
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        max_time={"minutes": MINUTES},
        callbacks=[
            callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE),
            callbacks.ModelCheckpoint(dirpath=place, monitor="val_loss"),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


if __name__ == "__main__":
    given, whom, listed, back, drawn = sys.argv[1:]
    main(given, whom, listed, back, int(drawn))

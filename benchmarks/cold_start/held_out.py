"""Whole users and whole items taken out of what is known before the split."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.quality.cases import Progress, case_of, declare, declared, imported, prepare
from qianmian.contracts import columns as c
from qianmian.data.record import record_in
from qianmian.data.store import Dataset
from qianmian.features.snapshots import build, schedule
from qianmian.workspace import DEFAULT_DATASET, Workspace
from training.profile import TrainingProfile
from training.revision import source_hash

FILE: Final = "held_out.json"
SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Ids that have no event before the split."""

    users: list[str]
    items: list[str]

    @classmethod
    def read(cls, folder: Path) -> HeldOut:
        """What `hold_out` wrote into the folder."""
        return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))


def prepared(home: Path, profile: TrainingProfile, progress: Progress) -> tuple[Workspace, HeldOut]:
    """The workspace without what the profile's seed holds out, its features built; and the ids."""
    whole = prepare(case_of(DEFAULT_DATASET), home, profile, progress)
    name = f"cold-start-{profile.seed}"
    workspace, source = Workspace(home, name), home / "sources" / name
    recipe = Path(__file__).read_text(encoding="utf-8") + record_in(whole.data).fingerprint
    recipe += source_hash(("benchmarks/quality",))
    taken_out = partial(hold_out, Dataset.open(whole), seed=profile.seed)
    imported(workspace, source, recipe, taken_out, progress)
    dataset = Dataset.open(workspace)
    cut = dataset.spec.split.train_end.timestamp()
    build(workspace, dataset, schedule(cut, profile.snapshots.every_days, profile.snapshots.count))
    return workspace, HeldOut.read(source)


def hold_out(dataset: Dataset, folder: Path, *, seed: int) -> None:
    """Write the data set without any past of some users and items, and who and what they are."""
    for path in dataset.folder.glob("*.parquet"):
        shutil.copy(path, folder)
    events = pd.read_parquet(dataset.folder / c.EVENTS_FILE)
    split, rng = dataset.spec.split, np.random.default_rng(seed)
    before = events[c.TIMESTAMP] < split.train_end
    known = events[before & (events[c.EVENT_TYPE] == dataset.spec.target.value)]
    chosen = {
        name: rng.permutation(np.sort(known[column].unique()))[
            : int(SHARE * known[column].nunique())
        ].tolist()
        for name, column in (("users", c.USER_ID), ("items", c.ITEM_ID))
    }
    gone = events[c.USER_ID].isin(chosen["users"]) | events[c.ITEM_ID].isin(chosen["items"])
    events[~(before & gone)].to_parquet(folder / c.EVENTS_FILE, index=False)
    said = {"train_end": split.train_end.isoformat(), "test_end": split.test_end.isoformat()}
    declare(folder, {**declared(dataset.spec), "split": said})
    (folder / FILE).write_text(json.dumps(chosen), encoding="utf-8")

"""SASRec of a maintained library (RecTools) as a peer, run in an environment of its own.

Parquet files go over: the target actions before the cut, whom and what to list; and back the best
items of each user.

SASRec: Kang and McAuley, "Self-attentive sequential recommendation" (2018).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.peers.environment import peer_command
from qianmian.contracts import columns as c
from qianmian.errors import DataError
from qianmian.features.item_table import Int32
from training.baselines import popularity
from training.history import History
from training.slices import Ranking
from training.subjects import Subject
from training.systems import System

SASREC: Final = "sasrec"
SCRIPT: Final = "sasrec.py"


def sasrec(history: History, subjects: list[Subject], ranked: Int32, *, seed: int) -> System:
    """Train SASRec on the sequences of target actions; users it does not know get popularity.

    Raises `DataError` when the peers' environment was not made, or the library failed.
    """
    targets = history.targets
    popular = popularity(targets, len(history.catalogue), history.cut)
    rest = (popular / (popular.max() + 1.0) - 2.0) * 1e3  # below every score of the model
    with tempfile.TemporaryDirectory() as place:
        names = ("given.pq", "wanted.pq", "listed.pq", "back.pq")
        given, wanted, listed, back = (Path(place) / name for name in names)
        pd.DataFrame(
            {c.USER_ID: targets.users, c.ITEM_ID: targets.items, c.TIMESTAMP: targets.at}
        ).to_parquet(given)
        codes = [s.code for s in subjects if s.code >= 0]
        pd.DataFrame({c.USER_ID: codes}).to_parquet(wanted)
        pd.DataFrame({c.ITEM_ID: ranked}).to_parquet(listed)
        files = map(str, (given, wanted, listed, back))
        command, env = peer_command(SCRIPT, *files, str(seed))
        if code := subprocess.run(command, env=env, stdout=sys.stderr, check=False).returncode:
            raise DataError(f"SASRec ended with {code}: what it said stands above")
        found = pd.read_parquet(back)
    lists = {
        user: (rows[c.ITEM_ID].to_numpy(dtype=np.int32), rows["score"].to_numpy())
        for user, rows in found.groupby(c.USER_ID)
    }
    nothing = np.zeros(0, dtype=np.int32), np.zeros(0)

    def scored(subject: Subject) -> Ranking:
        scores = rest.copy()
        items, values = lists.get(subject.code, nothing)
        scores[items] = values
        return Ranking(ranked, scores[ranked])

    return scored

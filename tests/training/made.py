"""Examples made of arrays, with nothing said of what a test does not care for."""

import numpy as np

from qianmian.features.memory import HAD, Memory
from training.proposals import Examples

MEMORY = 5


def remembering(items, *, days=0.0, types=HAD):
    """Memories of these item numbers [G, M], 0 for padding."""
    there = items > 0
    return Memory(
        items=items.astype(np.int32),
        days=np.where(there, days, 0.0).astype(np.float32),
        types=np.where(there, types, 0).astype(np.int32),
    )


def made(features, labels, *, size, **said):
    """Groups of `size` rows each; features [R, F], labels [R, A]."""
    rows = len(features)
    groups = rows // size
    empty = {
        "items": np.ones(rows, dtype=np.int32),
        "weights": np.ones(rows, dtype=np.float32),
        "starts": np.arange(0, rows + 1, size),
        "moments": np.zeros(groups),
        "positions": np.zeros(rows, dtype=np.int32),
        "shown": np.zeros(groups, dtype=bool),
        "launched": np.zeros(groups, dtype=bool),
        "memory": remembering(np.zeros((groups, MEMORY), dtype=np.int32)),
        "segments": np.full((groups, 1), ""),
    }
    return Examples(features=features, labels=labels, **{**empty, **said})

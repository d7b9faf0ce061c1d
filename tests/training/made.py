"""Examples made of arrays, with nothing said of what a test does not care for."""

import numpy as np

from training.proposals import Examples

MEMORY = 5


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
        "remembered": np.zeros((groups, MEMORY), dtype=np.int32),
        "days": np.zeros((groups, MEMORY), dtype=np.float32),
    }
    return Examples(features=features, labels=labels, **{**empty, **said})

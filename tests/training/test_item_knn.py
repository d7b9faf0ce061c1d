"""Item-kNN with every item of two users: cosines, the nearest of each item kept."""

import numpy as np
import pytest
import scipy.sparse as sp

from training import item_knn
from training.item_knn import fit_item_knn

HAD = np.array(
    [
        [1.0, 1.0, 0.0, 0.0, 0.0],
        [2.0, 1.0, 0.5, 0.0, 0.0],
        [0.0, 1.0, 0.5, 1.0, 1.0],
        [0.0, 0.0, 0.0, 1.0, 0.0],
    ],
    dtype=np.float32,
)  # item 4 has one user


def cosines() -> np.ndarray:
    gram = HAD.T @ HAD
    norms = np.sqrt(gram.diagonal())
    near = gram / (norms[:, None] * norms[None, :] + 10.0)
    near[4], near[:, 4] = 0.0, 0.0
    return near


def whole(neighbours) -> np.ndarray:
    """Weights [n, n] from the item of the row to the item of the column."""
    found = np.zeros((5, 5))
    for item, (a, b) in enumerate(zip(neighbours.starts, neighbours.starts[1:], strict=False)):
        found[item, neighbours.items[a:b]] = neighbours.weights[a:b]
    return found


@pytest.mark.parametrize("block", [1, 3, 100])
def test_weights_are_cosines(monkeypatch, block: int) -> None:
    monkeypatch.setattr(item_knn, "_BLOCK", block)
    assert whole(fit_item_knn(sp.csr_array(HAD))) == pytest.approx(cosines(), abs=1e-6)


def test_an_item_keeps_its_nearest(monkeypatch) -> None:
    monkeypatch.setattr(item_knn, "NEIGHBOURS", 2)
    found, near = whole(fit_item_knn(sp.csr_array(HAD))), cosines()
    for item in range(4):
        kept = np.argsort(-near[:, item])[:2]
        assert np.flatnonzero(found[:, item]).tolist() == sorted(kept[near[kept, item] > 0])


def test_nothing_in_common() -> None:
    assert len(fit_item_knn(sp.csr_array(np.eye(3, dtype=np.float32))).items) == 0

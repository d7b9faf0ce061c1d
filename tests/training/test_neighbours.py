"""Item neighbours: the closed form, what is kept of it, and what a user's past says by it."""

import numpy as np
import pytest

from qianmian.retrieval.neighbours import Neighbours
from tests.training.ledgers import NOW, ledger
from training.actions import Actions
from training.neighbours import fit_neighbours
from training.profile import NeighboursProfile

DAY = 86_400.0
ITEMS = 6
HAD = ((0, 1), (0, 1, 2), (1, 2), (3, 4), (3, 4, 0))  # items of each user; nobody has item 5


def actions(*, at: float = NOW) -> Actions:
    pairs = [(user, item) for user, items in enumerate(HAD) for item in items]
    users, items = (np.array(side, dtype=np.int32) for side in zip(*pairs, strict=True))
    return Actions(users, items, np.full(len(pairs), at))


def learn(targets: Actions, *, kept: int = 100, min_users: int = 1) -> Neighbours:
    profile = NeighboursProfile(kept=kept, min_users=min_users, regularization=2.0)
    return fit_neighbours(targets, users=len(HAD), items=ITEMS, moment=NOW + 1, profile=profile)


def by_ridge_regression() -> np.ndarray:
    """Each item's weights by solving for it alone, without the closed form of them all."""
    had = np.zeros((len(HAD), ITEMS))
    for user, items in enumerate(HAD):
        had[user, list(items)] = 1.0
    weights = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        others = [i for i in range(ITEMS) if i != item]
        x = had[:, others]
        weights[others, item] = np.linalg.solve(
            x.T @ x + 2.0 * np.eye(len(others)), x.T @ had[:, item]
        )
    return weights


def test_scores_are_those_of_a_regression_of_each_item_on_the_others() -> None:
    neighbours = learn(actions())
    for owned in ((), (0,), (1, 3), (0, 1, 2, 3, 4)):
        expected = by_ridge_regression()[list(owned)].sum(axis=0)
        assert neighbours.scores(ledger(*owned)) == pytest.approx(expected, abs=1e-5)


def test_what_is_bought_together_speaks_for_each_other() -> None:
    scores = learn(actions()).scores(ledger(3))
    assert scores.argmax() == 4
    assert scores[5] == 0.0


def test_only_the_strongest_weights_of_an_item_are_kept() -> None:
    whole, cut = by_ridge_regression(), learn(actions(), kept=1)
    counts = np.bincount(cut.items, minlength=ITEMS)
    assert counts.tolist() == [1, 1, 1, 1, 1, 0]
    for item in range(5):
        assert cut.weights[cut.items == item] == pytest.approx(
            whole[np.abs(whole[:, item]).argmax(), item], abs=1e-5
        )


def test_items_of_too_few_users_take_no_part() -> None:
    assert not np.isin([5], learn(actions(), min_users=2).items).any()
    assert len(learn(actions(), min_users=4).items) == 0


def test_nothing_after_the_moment_counts() -> None:
    later = actions(at=NOW + 2)
    assert len(learn(later).items) == 0


def test_weights_survive_a_file(tmp_path) -> None:
    neighbours = learn(actions())
    neighbours.save(tmp_path / "n.npz")
    scores = Neighbours.load(tmp_path / "n.npz").scores(ledger(0, 3))
    assert scores.tolist() == neighbours.scores(ledger(0, 3)).tolist()

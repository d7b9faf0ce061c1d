"""EASE with every item: the scores that the item by item closed form gives."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.actions import Actions
from training.ease import REGULARIZATIONS, learn, tuned

LAMBDA = 2.0
had_by_few = st.integers(1, 7).flatmap(
    lambda users: st.integers(1, 9).flatmap(
        lambda items: arrays(
            np.float32, (users, items), elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])
        )
    )
)


@given(had_by_few)
def test_scores_are_those_of_the_inverse_of_items_by_items(had: np.ndarray) -> None:
    inverse = np.linalg.inv(had.T.astype(float) @ had + LAMBDA * np.eye(had.shape[1]))
    weights = -inverse / inverse.diagonal()[None, :]
    np.fill_diagonal(weights, 0.0)
    _, model = learn(sp.csr_array(had), [7.0, LAMBDA])
    for user, row in enumerate(had):
        assert model.scores(user) == pytest.approx(row @ weights, abs=2e-4)


def test_a_stranger_has_no_scores() -> None:
    (model,) = learn(sp.csr_array(np.eye(3, 5, dtype=np.float32)), [LAMBDA])
    assert model.scores(-1).tolist() == [0.0] * 5


def test_the_last_weeks_choose_the_regularization() -> None:
    """Who buys the same again is served by a small one, who buys what others do by a large one."""
    day, cut = 86_400.0, 100 * 86_400.0
    rng = np.random.default_rng(5)
    users, taste = 60, rng.integers(0, 3, 60)
    rows = []
    for user in range(users):
        own = rng.choice(20, 6, replace=False) + 20 * taste[user]
        rows += [(user, item, cut - 60 * day) for item in own]
        rows += [(user, item, cut - 5 * day) for item in own[:3]]  # again
        rows += [(user, 20 * taste[user] + k, cut - 5 * day) for k in range(2)]  # what others have
    rows.sort(key=lambda row: row[2])
    code, item, at = (np.array(column) for column in zip(*rows, strict=True))
    targets = Actions(code.astype(np.int32), item.astype(np.int32), at)
    found = tuned(targets, users=users, items=60, cut=cut)
    assert len(found) == 2
    best = {user: found.of_all.scores(user).argmax() // 20 for user in range(users)}
    assert list(best.values()) == taste.tolist()
    assert tuple(sorted(REGULARIZATIONS)) == REGULARIZATIONS

"""EASE with every item: the scores that the item by item closed form gives."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.actions import Actions
from training.ease import DEFAULT, Had, tuned

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
    _, model = Had(sp.csr_array(had)).learned([7.0, LAMBDA])
    for user, row in enumerate(had):
        assert model.scores(user) == pytest.approx(row @ weights, abs=2e-4)


def test_a_stranger_has_no_scores() -> None:
    (model,) = Had(sp.csr_array(np.eye(3, 5, dtype=np.float32))).learned([LAMBDA])
    assert model.scores(-1).tolist() == [0.0] * 5
    assert model.scores(2).tolist() != [0.0] * 5


DAY = 86_400.0
CUT = 100 * DAY


def actions(rows: list[tuple[int, int, float]]) -> Actions:
    rows = sorted(rows, key=lambda row: row[2])
    code, item, at = (np.array(column) for column in zip(*rows, strict=True))
    return Actions(code.astype(np.int32), item.astype(np.int32), at)


@pytest.mark.parametrize("again", [True, False], ids=["again", "new"])
def test_the_last_weeks_choose_the_regularization(again) -> None:
    """Who takes the same again is served by a small one, who follows the others by a large one."""
    rng = np.random.default_rng(5)
    users, groups, width = 120, 4, 15
    rows = []
    for user in range(users):
        own = width * (user % groups) + rng.permutation(width)
        rows += [(user, item, CUT - 60 * DAY) for item in own[:5]]
        rows += [(user, item, CUT - 5 * DAY) for item in (own[:4] if again else own[5:9])]
    found = tuned(actions(rows), users=users, items=groups * width, cut=CUT)
    assert (found.of_all.ease.regularization < 100.0) is again
    best = [found.of_new.scores(user).argmax() // width for user in range(users)]
    assert best == [user % groups for user in range(users)]


def test_what_is_not_ranked_has_no_say_in_what_is_chosen() -> None:
    """A pool holds what is taken anew; outside of it everybody takes the same again."""
    rng = np.random.default_rng(5)
    users, groups, width = 120, 4, 15
    pool = np.arange(groups * width, dtype=np.int32)
    rows = []
    for user in range(users):
        own = width * (user % groups) + rng.permutation(width)
        others = len(pool) + rng.permutation(4 * width)[:20]
        rows += [(user, int(item), CUT - 60 * DAY) for item in (*own[:5], *others)]
        rows += [(user, int(item), CUT - 5 * DAY) for item in (*own[5:9], *others)]
    items = len(pool) + 4 * width
    whole, inside = (
        tuned(actions(rows), users=users, items=items, cut=CUT, ranked=ranked).of_all
        for ranked in (None, pool)
    )
    assert whole.ease.regularization < inside.ease.regularization


def test_quiet_last_weeks_choose_nothing() -> None:
    found = tuned(actions([(0, 1, 5 * DAY), (1, 1, 6 * DAY)]), users=3, items=4, cut=CUT)
    assert {found.of_all.ease.regularization, found.of_new.ease.regularization} == {DEFAULT[0]}
    assert np.isfinite(found.of_all.scores(0)).all()
    assert not found.of_all.scores(2).any()


def test_last_weeks_that_bring_nothing_new_do_not_choose_what_is_for_it() -> None:
    rows = [(user, item, CUT - days * DAY) for user, item in ((0, 1), (1, 2)) for days in (60, 5)]
    found = tuned(actions(rows), users=2, items=4, cut=CUT)
    assert found.of_new.ease.regularization == DEFAULT[0]
    assert found.of_all.ease.regularization < DEFAULT[0]


def test_the_last_weeks_choose_what_popularity_adds() -> None:
    """Groups with a taste of their own, which all take up what a few others took before."""
    rng = np.random.default_rng(7)
    users, first, groups, width = 120, 60, 4, 15
    fashion = groups * width + np.arange(6)
    rows = [(users + one, int(item), CUT - 40 * DAY) for one in range(first) for item in fashion]
    had = {}
    for user in range(users):
        own = width * (user % groups) + rng.permutation(width)[:5]
        taken = rng.choice(fashion, size=3, replace=False)
        rows += [(user, int(item), CUT - 70 * DAY) for item in own]
        rows += [(user, int(item), CUT - 5 * DAY) for item in taken]
        had[user] = [*own, *taken]
    found = tuned(actions(rows), users=users + first, items=int(fashion[-1]) + 1, cut=CUT)
    assert found.of_new.prior[fashion].min() > 0
    for user, own in had.items():
        scores = found.of_new.scores(user)
        scores[own] = -np.inf
        assert scores.argmax() in fashion

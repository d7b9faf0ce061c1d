"""Item factors learned from a shop of two crowds that buy apart."""

from __future__ import annotations

import numpy as np
import pytest

from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.factors import Factors
from tests.training.ledgers import NOW, ledger
from training.actions import Actions
from training.factors import factorized, fit_factors, tuned_regularization
from training.profile import FactorsProfile
from training.user_items import decayed_counts

CROWD, SHELF = 30, 20  # users of a crowd, items that it buys
USERS, ITEMS = 2 * CROWD, 2 * SHELF + 1  # nobody has the last one
EVERY = np.arange(ITEMS, dtype=np.int32)


def actions(*, at: float = NOW) -> Actions:
    """Each user buys half of the crowd's shelf."""
    rng = np.random.default_rng(0)
    pairs = [
        (user, (user // CROWD) * SHELF + int(item))
        for user in range(USERS)
        for item in rng.choice(SHELF, SHELF // 2, replace=False)
    ]
    users, items = (np.array(side, dtype=np.int32) for side in zip(*pairs, strict=True))
    return Actions(users, items, np.full(len(pairs), at))


def learn(targets: Actions, **knobs: object) -> Factors:
    return fit_factors(
        targets,
        users=USERS,
        items=ITEMS,
        moment=NOW + 1,
        profile=FactorsProfile(width=4, **knobs),
        regularization=1.0,
        seed=3,
    )


def test_who_bought_of_one_shelf_likes_the_rest_of_it() -> None:
    scores = learn(actions()).scores(ledger(0, 1, 2), EVERY)
    assert scores[3:SHELF].mean() > 5 * abs(scores[SHELF:-1].mean())
    assert scores[ITEMS - 1] == 0.0


def test_a_user_stands_where_the_factorization_put_one_with_the_same_past() -> None:
    targets = actions(at=NOW + 1)  # nothing decays
    counts = decayed_counts(targets, users=USERS, items=ITEMS, moment=NOW + 2)
    of_users, of_items = factorized(counts, width=4, regularization=1.0, iterations=30, seed=3)
    kept = np.flatnonzero(np.abs(of_items).any(axis=1)).astype(np.int32)
    learned = Factors(kept, of_items[kept], regularization=1.0, size=ITEMS)
    for user in (0, USERS - 1):
        owned = targets.items[targets.users == user]
        assert learned.scores(ledger(*owned.tolist()), EVERY)[kept] == pytest.approx(
            of_items[kept] @ of_users[user], abs=0.03
        )


def test_items_of_too_few_users_and_beyond_the_most_known_take_no_part() -> None:
    assert ITEMS - 1 not in learn(actions()).items
    assert len(learn(actions(), items=7).items) == 7
    assert not len(learn(actions(), min_users=USERS).items)


def test_nothing_after_the_moment_counts() -> None:
    assert not len(learn(actions(at=NOW + 2)).items)


def test_the_same_seed_learns_the_same() -> None:
    first, again = learn(actions()), learn(actions())
    assert first.vectors.tolist() == again.vectors.tolist()


def test_the_last_weeks_choose_the_regularization() -> None:
    """Two crowds of thirty: with 10,000 nothing is left of what tells them apart."""
    before = actions(at=NOW - 40 * SECONDS_PER_DAY)
    late = np.array([(user // CROWD) * SHELF + 7 for user in range(USERS)], dtype=np.int32)
    targets = Actions(
        np.concatenate([before.users, np.arange(USERS, dtype=np.int32)]),
        np.concatenate([before.items, late]),
        np.concatenate([before.at, np.full(USERS, NOW - SECONDS_PER_DAY)]),
    )

    def tuned(*choices: float) -> float:
        return tuned_regularization(
            targets,
            users=USERS,
            items=ITEMS,
            cut=NOW,
            profile=FactorsProfile(width=4, regularizations=choices),
            seed=3,
        )

    assert tuned(1.0, 10_000.0) == 1.0
    assert tuned(10_000.0, 1.0) == 1.0
    assert tuned(5.0) == 5.0


def test_last_weeks_that_bring_nothing_new_choose_the_middle_one() -> None:
    before = actions(at=NOW - 40 * SECONDS_PER_DAY)
    again = np.full(len(before.at), NOW - SECONDS_PER_DAY)
    targets = Actions(
        *(np.concatenate([side, side]) for side in (before.users, before.items)),
        np.concatenate([before.at, again]),
    )
    profile = FactorsProfile(width=4, regularizations=(3.0, 30.0, 100.0))
    chosen = tuned_regularization(
        targets, users=USERS, items=ITEMS, cut=NOW, profile=profile, seed=3
    )
    assert chosen == 30.0

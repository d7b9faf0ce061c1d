"""What the sources propose: distinct items of the pool, each by the first source to name it."""

from __future__ import annotations

import numpy as np
import pytest

from qianmian.contracts import features as f
from qianmian.features.families import Families
from qianmian.features.user_state import UserState
from qianmian.retrieval.factors import Factors
from qianmian.retrieval.neighbours import Neighbours
from qianmian.retrieval.scale import ScoreScale
from qianmian.retrieval.sources import (
    FACTORS,
    NEIGHBOURS,
    SOURCE_CODE,
    UNSEEN,
    Pool,
    SourceQuotas,
    propose,
)
from tests.serving.tiny import ITEMS, item_table

TABLE = item_table()
ONLY_NEIGHBOURS = SourceQuotas.only(neighbours=5)


def owner_of(item: int) -> UserState:
    now = 1_000.0
    return UserState.read(
        "anna",
        {
            f.LEDGER_ITEM_IDS: [str(TABLE.item_ids[item])],
            f.LEDGER_COUNTS: [1.0],
            f.LEDGER_QUANTITIES: [1.0],
            f.LEDGER_VISITS: [1],
            f.LEDGER_FIRST_AT: [now],
            f.LEDGER_LAST_AT: [now],
            **{f.ledger_decayed(days): [1.0] for days in f.LEDGER_HALF_LIVES_DAYS},
            f.LEDGER_AS_OF: now,
        },
        TABLE,
        (),
    )


def chain() -> Neighbours:
    """Every item speaks for the next one, and still more for itself."""
    starts = np.arange(0, 2 * ITEMS + 1, 2, dtype=np.int64)
    items = np.stack([np.arange(ITEMS), (np.arange(ITEMS) + 1) % ITEMS], axis=1).ravel()
    weights = np.tile(np.array([90.0, 50.0], dtype=np.float32), ITEMS)
    return Neighbours(starts, items.astype(np.int32), weights)


def pool(indices: list[int] | None = None, factors: Factors | None = None) -> Pool:
    chosen = None if indices is None else np.array(indices, dtype=np.int32)
    vectors = np.zeros((ITEMS, 4), dtype=np.float32)
    scale = ScoreScale.of(vectors, np.ones(ITEMS, dtype=np.bool_))
    factors = factors or Factors.none(ITEMS)
    return Pool.build(TABLE, vectors, chain(), factors, Families.of(TABLE, ()), scale, chosen)


def test_neighbours_propose_what_goes_with_what_the_user_has_but_not_that_itself() -> None:
    found = propose(owner_of(3), np.zeros(4, np.float32), pool(), ONLY_NEIGHBOURS)
    assert found.items[0] == 4
    assert 3 not in found.items
    assert found.neighbour[0] == pytest.approx(50.0)
    assert (found.source == SOURCE_CODE[NEIGHBOURS]).all()


def test_neighbours_outside_the_pool_are_not_proposed() -> None:
    found = propose(owner_of(3), np.zeros(4, np.float32), pool([3, 5, 6]), ONLY_NEIGHBOURS)
    assert set(found.items.tolist()) <= {5, 6}


def test_own_items_keep_their_neighbour_score_when_another_source_proposes_them() -> None:
    quotas = SourceQuotas.only(repeat=5)
    found = propose(owner_of(3), np.zeros(4, np.float32), pool(), quotas)
    assert found.items.tolist() == [3]
    assert found.neighbour.tolist() == [90.0]


def two_sorts() -> Factors:
    """Items 3 and 4 are of one sort, 5 of another, 6 of both; the others have no factors."""
    vectors = np.array([[2, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
    return Factors(np.arange(3, 7, dtype=np.int32), vectors, regularization=1.0, size=ITEMS)


def test_factors_propose_what_is_like_what_the_user_has_but_not_that_itself() -> None:
    found = propose(
        owner_of(3), np.zeros(4, np.float32), pool(None, two_sorts()), SourceQuotas.only(factors=5)
    )
    assert set(found.items.tolist()) == {4, 6}  # 5 is of the other sort
    assert (found.factor > 0).all()
    assert (found.source == SOURCE_CODE[FACTORS]).all()


def test_factors_outside_the_pool_and_for_strangers_are_not_proposed() -> None:
    quotas, vector = SourceQuotas.only(factors=5), np.zeros(4, np.float32)
    found = propose(owner_of(3), vector, pool([3, 5, 6], two_sorts()), quotas)
    assert found.items.tolist() == [6]
    stranger = UserState.read("new", None, TABLE, ())
    assert not len(propose(stranger, vector, pool(None, two_sorts()), quotas))


def test_unseen_items_are_proposed_by_the_taste_for_their_families_then_by_score() -> None:
    """Nobody acted on 4, 5, 6 and 9; who has 3 has the category of 6 and 9, and the brand of 7."""
    unseen = np.array([4, 5, 6, 9], dtype=np.int32)
    table = TABLE.unseen(unseen)
    vectors = np.zeros((ITEMS, 4), dtype=np.float32)
    vectors[[5, 9], 0] = 1.0
    scale = ScoreScale.of(vectors, table.first_seen_at > 0)
    families = Families.of(table, ("category", "brand"))
    laid = Pool.build(table, vectors, chain(), Factors.none(ITEMS), families, scale)
    quotas = SourceQuotas.only(unseen=3)
    vector = np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)
    found = propose(owner_of(3), vector, laid, quotas)
    assert found.items.tolist() == [9, 6, 5]
    assert (found.source == SOURCE_CODE[UNSEEN]).all()
    allowed = np.ones(ITEMS, dtype=np.bool_)
    allowed[9] = False
    assert propose(owner_of(3), vector, laid, quotas, allowed).items.tolist() == [6, 5, 4]


def test_an_item_is_unseen_until_the_first_target_action() -> None:
    table = TABLE.unseen(np.array([4, 5], dtype=np.int32))
    vectors = np.zeros((ITEMS, 4), dtype=np.float32)
    scale = ScoreScale.of(vectors, table.first_seen_at > 0)
    families = Families.of(table, ())
    laid = Pool.build(table, vectors, chain(), Factors.none(ITEMS), families, scale)
    assert laid.items[laid.unseen].tolist() == [4, 5]
    row, when = np.array([4], dtype=np.int32), np.array([2_000.0])
    table.update_statistics(row, np.zeros_like(table.statistics[row]), when, when)
    assert laid.reordered(table).unseen.tolist() == [4, 5]  # it was shown to somebody
    table.update_statistics(row, np.ones_like(table.statistics[row]), when, when)
    assert laid.items[laid.reordered(table).unseen].tolist() == [5]

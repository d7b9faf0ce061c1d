"""Families by hand: whose past speaks for an item that nobody acted on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qianmian.contracts import features as f
from qianmian.features.families import AKIN, ALIKE, Families, family_kinds
from qianmian.features.item_table import ItemTable
from qianmian.features.ranking_features import RankingFeatures, feature_names
from qianmian.features.user_state import UserState
from qianmian.retrieval.sources import Candidates

AFFINITY = ("category", "brand")
#: Three yoghurts of one brand, two of one size; one of another brand; one without a brand; a pan.
TABLE = ItemTable.from_profile(
    pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d", "e", "f"],
            "category": ["yoghurt"] * 5 + ["pan"],
            "brand": ["alm", "alm", "alm", "berg", None, "alm"],
            "size": ["s", "s", "l", "s", "s", "s"],
        }
    ),
    ("category", "brand", "size"),
)
NOW = 1_000_000.0


def owner_of(items: dict[str, float], affinity: dict[str, float]) -> UserState:
    """Of items with decayed counts, and a category affinity that tells what it is given."""
    ids = list(items)
    return UserState.read(
        "anna",
        {
            f.LEDGER_ITEM_IDS: ids,
            f.LEDGER_COUNTS: [1.0] * len(ids),
            f.LEDGER_QUANTITIES: [1.0] * len(ids),
            f.LEDGER_VISITS: [1] * len(ids),
            f.LEDGER_FIRST_AT: [NOW] * len(ids),
            f.LEDGER_LAST_AT: [NOW + row for row in range(len(ids))],
            **{f.ledger_decayed(days): list(items.values()) for days in f.LEDGER_HALF_LIVES_DAYS},
            f.LEDGER_AS_OF: NOW,
            f.affinity_values("category"): list(affinity),
            f.affinity_weights("category"): list(affinity.values()),
            f.affinity_last_at("category"): [NOW] * len(affinity),
        },
        TABLE,
        (),
    )


def test_a_family_shares_every_value_and_an_item_without_a_preferred_one_has_none() -> None:
    families = Families.of(TABLE, AFFINITY)
    akin, alike = families.codes[AKIN], families.codes[ALIKE]
    assert akin[0] == akin[1] == akin[2] != akin[3]
    assert alike[0] == alike[1] != alike[2]
    assert akin[4] == alike[4] == 0  # its brand is unknown
    sizes = {kind: families.roots[kind][codes] for kind, codes in families.codes.items()}
    assert sizes[AKIN] == pytest.approx([3**-0.5] * 3 + [1.0, 0.0, 1.0])
    assert sizes[ALIKE] == pytest.approx([2**-0.5] * 2 + [1.0, 1.0, 0.0, 1.0])
    assert sizes["category"] == pytest.approx([5**-0.5] * 5 + [1.0])
    assert tuple(families.codes) == family_kinds(AFFINITY)


def test_an_unknown_value_that_no_preference_is_kept_for_is_a_value() -> None:
    families = Families.of(TABLE, ("category",))
    assert families.codes[ALIKE].all()  # e has a category
    assert len(set(families.codes[ALIKE].tolist())) == 5


def test_a_catalogue_without_attributes_has_no_families() -> None:
    bare = ItemTable.from_profile(pd.DataFrame({"item_id": ["a", "b"]}), ())
    families = Families.of(bare, ())
    assert not any(codes.any() for codes in families.codes.values())
    assert not families.taste(owner_of({"a": 1.0}, {}).ledger, np.arange(2, dtype=np.int32)).any()


def test_affinities_of_families_sum_up_what_the_ledger_holds_of_them() -> None:
    families = Families.of(TABLE, AFFINITY)
    found = families.affinities(owner_of({"a": 1.0, "c": 2.0, "d": 0.5}, {"yoghurt": 3.5}))
    akin = found[AKIN]
    of_kind = dict(zip(akin.codes.tolist(), akin.weights.tolist(), strict=True))
    assert of_kind == {int(families.codes[AKIN][0]): 3.0, int(families.codes[AKIN][3]): 0.5}
    assert akin.last_at.max() == NOW + 2
    assert "brand" not in found  # nothing was told of it
    assert families.affinities(owner_of({}, {})) == {}


def test_taste_adds_what_was_done_in_each_family_by_the_root_of_its_size() -> None:
    families = Families.of(TABLE, AFFINITY)
    said = families.taste(owner_of({"a": 2.0}, {}).ledger, np.arange(6, dtype=np.int32))
    category, brand, akin, alike = (2 / size**0.5 for size in (5, 4, 3, 2))
    with_brand = category + brand + akin
    assert said == pytest.approx(
        [with_brand + alike] * 2 + [with_brand, category, category, brand], rel=1e-6
    )
    assert not families.taste(owner_of({}, {}).ledger, np.arange(6, dtype=np.int32)).any()


def test_preferences_lose_what_the_ledger_loses_on_their_own_scale() -> None:
    families = Families.of(TABLE, AFFINITY)
    user = owner_of({"a": 1.0, "f": 4.0, "b": 3.0}, {"yoghurt": 20.0, "pan": 8.0})
    others = np.ones(6, dtype=np.bool_)
    others[1] = False
    left = families.without(user, others)
    texts = TABLE.attributes["category"].texts
    assert [texts[code] for code in left.affinity["category"].codes] == ["pan", "yoghurt"]
    assert left.affinity["category"].weights.tolist() == [8.0, 5.0]
    assert left.ledger.items.tolist() == [0, 5]
    others[0] = False
    gone = families.without(user, others).affinity["category"]
    assert [texts[code] for code in gone.codes] == ["pan"]


def test_what_the_towers_say_counts_from_the_first_event_on() -> None:
    """An item that nobody acted on is described by its families; a refresh lets the towers in."""
    vectors = np.ones((6, 4), dtype=np.float32)
    table = TABLE.with_statistics(
        pd.DataFrame(
            {
                "item_id": ["a"],
                **{name: [1.0] for name in f.ITEM_STATISTICS_NUMERIC},
                f.FIRST_SEEN_AT: [NOW],
                f.LAST_SEEN_AT: [NOW],
            }
        )
    )
    features = RankingFeatures(table, vectors, AFFINITY, NOW)
    items = np.arange(6, dtype=np.int32)
    candidates = Candidates(
        items,
        np.zeros(6, np.int8),
        np.full(6, 2.0, np.float32),
        np.zeros(6, np.float32),
        np.zeros(6, np.float32),
    )
    user = owner_of({"a": 2.0}, {"yoghurt": 2.0})
    names = feature_names(AFFINITY)
    towers = [names.index(n) for n in ("retrieval_score", "similarity_ledger")]
    rank = names.index("retrieval_rank")
    before = features.compute(user, candidates, NOW)
    assert before[0, towers].all()
    assert not before[1:, towers].any()
    assert before[1:, rank] == pytest.approx(np.full(5, np.log1p(6)))
    taste = before[:, names.index("taste")]
    assert (taste[:3] > taste[3:].max()).all()
    rows = np.array([1], dtype=np.int32)
    values = np.ones((1, len(f.ITEM_STATISTICS_NUMERIC)), dtype=np.float32)
    table.update_statistics(rows, values, np.array([NOW]), np.array([NOW]))
    features.refresh(rows, NOW)
    after = features.compute(user, candidates, NOW)
    assert after[1, towers].all()
    assert not after[2:, towers].any()

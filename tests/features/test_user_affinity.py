import pyarrow as pa
import pytest

from qianmian.contracts import features as f
from qianmian.features.user_affinity import AffinityIndex, user_affinity
from tests.features.small import at, event, log

ITEMS = pa.table(
    {
        "item_id": ["a", "b", "c", "unsold"],
        "category": ["tea", "tea", None, "soap"],
        "moods": pa.array([["calm", "warm"], [], None, ["calm"]], pa.list_(pa.string())),
    }
)


def affinity(*rows, as_of, columns=("category",)):
    index = AffinityIndex.build(log(*rows), ITEMS, columns)
    return user_affinity(index, at(as_of)).to_pylist()


def test_values_by_decayed_count():
    items = ITEMS.set_column(1, "category", pa.array(["tea", "soap", "jam", "soap"]))
    rows = [
        event("u", "a", 0),
        event("u", "a", 0.5),
        event("u", "b", 84),
        event("u", "c", 83),
        event("u", "c", 90, "click"),
    ]
    index = AffinityIndex.build(log(*rows), items, ["category"])
    (row,) = user_affinity(index, at(84.5)).to_pylist()
    assert row[f.affinity_values("category")] == ["tea", "soap", "jam"]
    assert row[f.affinity_weights("category")] == pytest.approx(
        [
            0.5 ** (84.5 / 84) + 0.5 ** (84 / 84),
            0.5 ** (0.5 / 84),
            0.5 ** (1.5 / 84),
        ]
    )
    assert row[f.affinity_last_at("category")] == [at(0.5), at(84), at(83)]


def test_ties_go_to_the_smaller_text():
    items = ITEMS.set_column(1, "category", pa.array(["z", "y", "x", "w"]))
    rows = [event("u", item, 0) for item in "abc"]
    index = AffinityIndex.build(log(*rows), items, ["category"])
    (row,) = user_affinity(index, at(1)).to_pylist()
    assert row[f.affinity_values("category")] == ["x", "y", "z"]


def test_an_item_with_several_values_counts_for_each():
    (row,) = affinity(event("u", "a", 0), event("u", "b", 0), as_of=1, columns=("moods",))
    assert row[f.affinity_values("moods")] == ["calm", "warm"]


def test_unknown_values_and_items_count_for_nothing():
    assert affinity(event("u", "c", 0), event("u", "not in the catalogue", 0), as_of=1) == []


def test_a_user_with_values_in_one_column_only():
    rows = [event("u", "b", 0), event("v", "a", 0)]
    u, v = affinity(*rows, as_of=1, columns=("category", "moods"))
    assert u[f.affinity_values("category")] == ["tea"]
    assert u[f.affinity_values("moods")] == u[f.affinity_weights("moods")] == []
    assert v[f.affinity_values("moods")] == ["calm", "warm"]


def test_a_list_of_values_has_an_end():
    count = f.AFFINITY_LENGTH + 2
    items = pa.table(
        {"item_id": [f"i{n}" for n in range(count)], "brand": [f"b{n:03d}" for n in range(count)]}
    )
    index = AffinityIndex.build(
        log(*(event("u", f"i{n}", n) for n in range(count))), items, ["brand"]
    )
    (row,) = user_affinity(index, at(count)).to_pylist()
    assert len(row[f.affinity_values("brand")]) == f.AFFINITY_LENGTH
    assert row[f.affinity_values("brand")][0] == f"b{count - 1:03d}"

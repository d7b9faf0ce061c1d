import pandas as pd

from qianmian.features.attributes import Kind, attributes, item_profile, venue_profile


def test_columns_take_the_type_of_their_kind():
    frame = pd.DataFrame(
        {
            "item_id": ["b", "a"],
            "size": [2.0, None],
            "price": [1.5, None],
            "moods": [["calm", 3], None],
            "created_at": pd.to_datetime(["2024-06-01T00:00:01Z", None]),
        }
    )
    kinds = {
        "size": Kind.CATEGORICAL,
        "price": Kind.NUMERIC,
        "moods": Kind.MULTI,
        "created_at": Kind.MOMENT,
        "absent": Kind.TEXT,
    }
    table = attributes(frame, "item_id", kinds)
    assert table.to_pylist() == [
        {
            "item_id": "a",
            "size": None,
            "price": None,
            "moods": None,
            "created_at": 0.0,
            "absent": None,
        },
        {
            "item_id": "b",
            "size": "2",  # a whole number that a missing one made a float
            "price": 1.5,
            "moods": ["calm", "3"],
            "created_at": 1717200001.0,
            "absent": None,
        },
    ]
    assert [str(t) for t in table.schema.types] == [
        "string",
        "string",
        "float",
        "list<item: string>",
        "double",
        "string",
    ]


def test_an_item_is_known_since_it_was_created():
    frame = pd.DataFrame({"item_id": ["a"], "created_at": pd.to_datetime(["2024-06-01T00:00Z"])})
    table = attributes(frame, "item_id", {"created_at": Kind.MOMENT})
    assert item_profile(table)[1].to_pylist() == [1717200000.0]
    assert item_profile(table.select(["item_id"]))[1].to_pylist() == [0.0]


def test_a_venue_has_the_size_of_its_pool():
    venues = attributes(pd.DataFrame({"venue_id": ["1", "2"]}), "venue_id", {})
    pools = pd.DataFrame({"venue_id": ["2", "2", "2"], "item_id": ["a", "b", "b"]})
    assert venue_profile(venues, pools)[0]["pool_size"].to_pylist() == [0.0, 2.0]
    assert venue_profile(venues, None)[0]["pool_size"].to_pylist() == [0.0, 0.0]

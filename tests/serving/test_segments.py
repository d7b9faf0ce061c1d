"""Popularity by segment is counted from the last weeks of training, users once."""

from __future__ import annotations

import pandas as pd

from qianmian.data.store import Dataset
from serving.segments import DAYS, Segments


def test_users_are_counted_once_by_the_value_of_their_tag(small_shop) -> None:
    dataset = Dataset.open(small_shop)
    found = Segments(dataset).users_by_value("age")
    events = dataset.train_events()
    since = pd.Timestamp(dataset.spec.split.train_end) - pd.Timedelta(days=DAYS)
    events = events[(events["event_type"] == "order") & (events["timestamp"] >= since)]
    age = dataset.users().set_index("user_id")["age"]
    events = events.assign(age=events["user_id"].astype(str).map(age)).astype({"item_id": str})
    for value, group in events.groupby("age"):
        users = group.groupby("item_id", observed=True)["user_id"].nunique()
        assert found[str(value)] == users.to_dict()
    assert set(found) == set(age.dropna())
    assert Segments(dataset).users_by_value("no such tag") == {}

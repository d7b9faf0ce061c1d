"""One user's events give that user's features exactly, whoever else is there and in any order."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.features.columns import DataType
from qianmian.features.event_log import EventLog
from qianmian.features.item_statistics import item_statistics
from qianmian.features.user_activity import user_activity
from qianmian.features.user_affinity import AffinityIndex, user_affinity
from qianmian.features.user_exposure import user_exposure
from qianmian.features.user_ledger import user_ledger
from qianmian.features.user_sequence import user_sequence
from qianmian.features.user_tags import Thresholds, user_tags
from tests.features.small import at, event, frame

ITEMS = pa.table(
    {"item_id": ["a", "b", "c", "d"], "brand": ["x", "x", "y", None], "kind": ["p", "q", "p", "q"]}
)
DECLARED = pa.table({"user_id": ["u", "quiet"], "city": ["Lyon", "Nice"]})
THRESHOLDS = Thresholds(mean_price=(1.0, 2.0, 4.0), discount_share=(0.1, 0.4))

money = st.none() | st.floats(0.01, 500.0).map(lambda v: round(v, 2))
events = st.builds(
    event,
    st.sampled_from("uvwxyz"),
    st.sampled_from("abcde"),
    st.integers(0, 4000).map(lambda n: n / 13),
    st.sampled_from([e.value for e in EventType]),
    quantity=st.sampled_from([None, 0.0, 1.0, 2.0, 3.0]),
    value=money,
    list_value=money,
    session_id=st.sampled_from([None, "s1", "s2"]),
    order_id=st.sampled_from([None, "o1", "o2", "o3"]),
)
MOMENT = 150.0


def user_features(table, moment):
    log = EventLog.build(table, target=EventType.ORDER, time_zone="Asia/Shanghai")
    affinity = AffinityIndex.build(log, ITEMS, ["brand", "kind"])
    city = {"city": DataType.STRING}
    return {
        "activity": user_activity(log, at(moment)),
        "sequence": user_sequence(log, at(moment)),
        "ledger": user_ledger(log, at(moment)),
        "exposure": user_exposure(log, at(moment)),
        "affinity": user_affinity(affinity, at(moment)),
        "tags": user_tags(log, DECLARED, city, THRESHOLDS, at(moment)),
    }


def rows_of(table, key, entity):
    return [row for row in table.to_pylist() if row[key] == entity]


@settings(max_examples=60)
@given(st.lists(events, min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_a_user_alone_is_the_user_among_all(rows, random):
    together = user_features(frame(*rows), MOMENT)
    for user in {row[c.USER_ID] for row in rows}:
        own = [row for row in rows if row[c.USER_ID] == user]
        random.shuffle(own)
        alone = user_features(frame(*own), MOMENT)
        for view, table in together.items():
            same = rows_of(table, c.USER_ID, user) == rows_of(alone[view], c.USER_ID, user)
            assert same, view
            assert table.schema == alone[view].schema


@settings(max_examples=60)
@given(st.lists(events, min_size=1, max_size=60))
def test_an_item_alone_is_the_item_among_all(rows):
    def statistics(some):
        log = EventLog.build(frame(*some), target=EventType.ORDER, time_zone="UTC")
        return item_statistics(log, at(MOMENT))

    together = statistics(rows)
    for item in {row[c.ITEM_ID] for row in rows}:
        alone = statistics([row for row in rows if row[c.ITEM_ID] == item])
        assert rows_of(together, c.ITEM_ID, item) == rows_of(alone, c.ITEM_ID, item)


@settings(max_examples=60)
@given(st.lists(events, min_size=1, max_size=40), st.lists(events, max_size=20))
def test_the_future_changes_nothing(past, future):
    past = [{**row, "days": row["days"] % MOMENT} for row in past]
    future = [{**row, "days": MOMENT + row["days"]} for row in future]  # the moment itself too
    before, after = (
        user_features(frame(*past), MOMENT),
        user_features(frame(*past, *future), MOMENT),
    )
    for view, table in before.items():
        assert table.equals(after[view]), view

import numpy as np
import pandas as pd
import pytest

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.errors import FieldError
from qianmian.features.event_log import EventLog
from tests.features.small import at, event, frame, log


def test_ids_are_coded_in_the_order_of_their_text():
    coded = log(event("u10", "b", 0), event("u9", "a", 1), event("u10", "a", 2))
    assert coded.users.to_pylist() == ["u10", "u9"]
    assert coded.items.to_pylist() == ["a", "b"]
    assert coded.events.user.tolist() == [0, 1, 0]
    assert coded.events.item.tolist() == [1, 0, 0]


def test_rows_are_in_the_order_of_time_however_they_arrive():
    rows = [event("u", item, days) for days, item in ((2, "a"), (0, "b"), (1, "c"), (1, "a"))]
    forth, back = log(*rows), log(*reversed(rows))
    assert forth.events.item.tolist() == back.events.item.tolist() == [1, 0, 2, 0]
    assert forth.events.at.tolist() == [at(0), at(1), at(1), at(2)]


def test_a_row_without_a_time_is_left_out():
    events = frame(event("u", "a", 0), event("v", "b", 1))
    events.loc[1, c.TIMESTAMP] = pd.NaT
    coded = EventLog.build(events, target=EventType.ORDER, time_zone="UTC")
    assert coded.users.to_pylist() == ["u"]


def test_categoricals_and_plain_text_give_the_same_log():
    events = frame(event("u", "b", 0), event("v", "a", 1, "click"))
    categorical = events.astype({c.USER_ID: "category", c.ITEM_ID: "category"})
    logs = [
        EventLog.build(table, target=EventType.ORDER, time_zone="UTC")
        for table in (events, categorical)
    ]
    assert logs[0].events.item.tolist() == logs[1].events.item.tolist() == [1, 0]
    assert logs[0].users.to_pylist() == logs[1].users.to_pylist()


def test_missing_money_and_quantity():
    coded = log(event("u", "a", 0), event("u", "a", 1, value=4.0))
    assert coded.events.quantity.tolist() == [1.0, 1.0]
    assert np.isnan(coded.events.value[0])
    assert coded.events.list_value[1] == 4.0


def test_days_and_hours_are_those_of_the_shop():
    # 02:00 UTC of Tuesday is 22:00 of Monday in New York, in summer.
    late = event("u", "a", 14 / 24)
    utc, shop = log(late), log(late, time_zone="America/New_York")
    assert (utc.events.hour[0], shop.events.hour[0]) == (2, 22)
    assert utc.events.day[0] == shop.events.day[0] + 1


def test_a_visit_is_a_session_else_an_order_else_a_day():
    rows = [
        event("u", "a", 0.0, session_id="s1", order_id="o1"),
        event("u", "b", 0.1, session_id="s1", order_id="o2"),
        event("u", "c", 0.2, session_id=None, order_id="o3"),
        event("u", "d", 1.0, session_id=None, order_id=None),
        event("u", "e", 1.1, session_id=None, order_id=None),
        event("v", "e", 1.1, session_id="s1", order_id=None),
    ]
    sessions = log(*rows).events.session.tolist()
    assert sessions == [0, 0, 1, 2, 2, 3]


def test_an_unknown_event_type_is_named():
    with pytest.raises(FieldError, match=r"event_type='wish': expected one of impression, click"):
        log(event("u", "a", 0, "wish"))

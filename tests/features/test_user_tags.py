import pandas as pd
import pyarrow as pa
import pytest

from qianmian.contracts import features as f
from qianmian.features.columns import DataType
from qianmian.features.user_tags import Thresholds, user_tags
from tests.features.small import at, event, log

LEVEL, CYCLE, POWER, SENSITIVITY, DAYPART, PREFERRED_DAY = f.DERIVED_TAGS


def tags(*rows, as_of, thresholds=Thresholds(), declared=None, types=None, **options):  # noqa: B008
    table = user_tags(log(*rows, **options), declared, types or {}, thresholds, at(as_of))
    return {row["user_id"]: row for row in table.to_pylist()}


@pytest.mark.parametrize(("visits", "level"), [(1, "low"), (2, "low"), (3, "medium"), (8, "high")])
def test_activity_level(visits, level):
    rows = [event("u", "a", day) for day in range(visits)]
    assert tags(*rows, as_of=10)["u"][LEVEL] == level


def test_activity_level_of_a_silent_user_is_none():
    assert tags(event("u", "a", 0), as_of=60)["u"][LEVEL] == "none"


@pytest.mark.parametrize(
    ("as_of", "cycle"), [(20, "new"), (52, "active"), (53, "lapsing"), (79, "lapsed")]
)
def test_life_cycle_goes_by_the_users_own_rhythm(as_of, cycle):
    rows = [event("u", "a", day) for day in (0, 13, 26)]  # a rhythm of 13 days
    assert tags(*rows, as_of=as_of)["u"][CYCLE] == cycle


def test_levels_of_money_go_by_the_thresholds():
    thresholds = Thresholds(mean_price=(1.0, 2.0, 3.0), discount_share=(0.1, 0.3))
    rows = [
        event("cheap", "a", 0, value=0.5, list_value=1.0),
        event("dear", "a", 0, value=9.0, list_value=9.0),
        event("looker", "a", 0, "click"),
    ]
    found = tags(*rows, as_of=1, thresholds=thresholds)
    assert (found["cheap"][POWER], found["cheap"][SENSITIVITY]) == ("low", "high")
    assert (found["dear"][POWER], found["dear"][SENSITIVITY]) == ("high", "low")
    assert found["looker"][POWER] is found["looker"][SENSITIVITY] is None


def test_thresholds_are_quantiles_over_users():
    rows = [event(f"u{n}", "a", 0, value=float(n), list_value=10.0) for n in range(1, 6)]
    thresholds = Thresholds.of(log(*rows), at(1))
    assert thresholds.mean_price == (2.0, 3.0, 4.0)
    assert thresholds.discount_share == pytest.approx((0.5 + 0.4 / 3, 0.5 + 0.8 / 3))


def test_without_money_there_are_no_thresholds():
    assert Thresholds.of(log(event("u", "a", 0)), at(1)) == Thresholds()


def test_preferred_daypart_and_day_are_those_of_the_shop():
    # NOON is Monday 12:00 UTC: 20:00 in Shanghai; 5.5 days later Sunday 08:00 in Shanghai.
    rows = [event("u", "a", 0), event("u", "a", 7), event("v", "a", 5.5)]
    found = tags(*rows, as_of=30, time_zone="Asia/Shanghai")
    assert (found["u"][DAYPART], found["u"][PREFERRED_DAY]) == ("evening", "weekday")
    assert (found["v"][DAYPART], found["v"][PREFERRED_DAY]) == ("morning", "weekend")


def test_a_weekend_is_preferred_by_the_day():
    rows = [event("u", "a", day) for day in (0, 1, 2, 5)]  # three weekdays, one Saturday
    assert tags(*rows, as_of=9)["u"][PREFERRED_DAY] == "weekday"
    assert tags(*rows, event("u", "b", 6), as_of=9)["u"][PREFERRED_DAY] == "weekend"


def test_declared_tags_and_users_without_events():
    declared = pa.table(
        {"user_id": ["u", "z"], "city": ["Lyon", None], "age": pa.array([30, None], pa.float32())}
    )
    types = {"city": DataType.STRING, "age": DataType.FLOAT32}
    found = tags(event("u", "a", 0), event("v", "a", 0), as_of=1, declared=declared, types=types)
    assert list(found) == ["u", "v", "z"]
    assert (found["u"]["city"], found["u"]["age"], found["u"][LEVEL]) == ("Lyon", 30.0, "low")
    assert (found["v"]["city"], found["v"]["age"], found["v"][LEVEL]) == (None, None, "low")
    assert (found["z"]["city"], found["z"][LEVEL], found["z"][CYCLE]) == (None, "none", None)
    assert list(found["u"]) == ["user_id", "city", "age", *f.DERIVED_TAGS]


def test_a_day_of_the_week_is_what_pandas_says():
    from qianmian.features.user_tags import is_weekend

    days = pd.date_range("2023-12-25", periods=14, tz="UTC")
    epoch_days = (days.astype("int64") // 86_400_000_000_000).to_numpy()
    assert is_weekend(epoch_days).tolist() == (days.dayofweek >= 5).tolist()

"""Features through Feast: point in time for training, newest for serving."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.errors import FeatureStoreError, NotFoundError
from qianmian.features import snapshots
from qianmian.features.event_log import EventLog
from qianmian.features.schema import SERVICES
from qianmian.features.store import FeatureRepo
from qianmian.features.user_ledger import user_ledger
from qianmian.workspace import FEATURE_REPO, PROJECT_ROOT, Workspace
from tests.features.conftest import PLANTED, SNAPSHOT_DAYS, TRAIN_END, shop_events
from tests.features.small import at

ALMOST = 1e-3


def asked(*rows, key=c.USER_ID):
    ids, moments = zip(*rows, strict=True)
    stamps = pd.to_datetime(np.round(np.array(moments) * 1e6), unit="us", utc=True)
    return pd.DataFrame({key: ids, f.EVENT_TIMESTAMP: stamps})


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(
    ("moment", "bought"),
    [
        (at(40) - ALMOST, None),  # before the first snapshot nothing is known
        (at(40), ["i00"]),  # the event at the very moment of the snapshot is not in it
        (at(50) - ALMOST, ["i00"]),
        (at(50), ["i02", "i01", "i00"]),
        (at(60) - ALMOST, ["i02", "i01", "i00"]),
        (at(60), ["i03", "i02", "i01", "i00"]),
        (at(99), ["i03", "i02", "i01", "i00"]),  # nothing of the test period, ever
    ],
)
def test_a_planted_future_event_cannot_leak(repo, moment, bought):
    rows = repo.historical(f.RANKER_SERVICE, f.USER, asked((PLANTED, moment)))
    assert plain(rows[f.LEDGER_ITEM_IDS][0]) == bought
    assert plain(rows[f.RECENT_ITEM_IDS][0]) == bought


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")
def test_the_fast_join_is_feasts_own(repo):
    """One query over all moments at once takes Feast's join over all files: the same rows."""
    users = [f"u{n}" for n in range(30)]
    rows = asked(*((u, at(day) + 5) for u in users for day in (35, *SNAPSHOT_DAYS)))
    ours = repo.historical(f.RANKER_SERVICE, f.USER, rows)
    references = repo.service_features(f.RANKER_SERVICE, f.USER)
    job = repo.store.get_historical_features(entity_df=rows, features=references)
    feasts = job.to_df().sort_values([c.USER_ID, f.EVENT_TIMESTAMP], ignore_index=True)
    ours = ours.sort_values([c.USER_ID, f.EVENT_TIMESTAMP], ignore_index=True)
    assert len(ours) == len(feasts) == 120
    for name in (reference.partition(":")[2] for reference in references):
        left, right = ([plain(v) for v in table[name]] for table in (ours, feasts))
        assert all(_same(a, b) for a, b in zip(left, right, strict=True)), name


def _same(left, right):
    return left == right or (_is_missing(left) and _is_missing(right))


def test_rows_come_in_the_order_asked_repeats_included(repo):
    rows = asked(("u3", at(60)), ("u1", at(40)), ("nobody", at(60)), ("u3", at(60)), ("u1", at(60)))
    found = repo.historical(f.TWO_TOWER_SERVICE, f.USER, rows)
    assert found[c.USER_ID].tolist() == ["u3", "u1", "nobody", "u3", "u1"]
    assert found[f.EVENT_TIMESTAMP].tolist() == rows[f.EVENT_TIMESTAMP].tolist()
    assert math.isnan(found[f.LAST_ACTION_AT][2])
    assert found[f.LAST_ACTION_AT][0] == found[f.LAST_ACTION_AT][3]
    assert found[f.LAST_ACTION_AT][1] < at(40) < found[f.LAST_ACTION_AT][4]
    assert f.LEDGER_ITEM_IDS not in found


def test_a_view_alone_and_no_rows(repo):
    rows = asked(("i01", at(60)), ("never", at(60)), key=c.ITEM_ID)
    found = repo.historical(f.RANKER_SERVICE, f.ITEM, rows, views=[f.ITEM_STATISTICS])
    assert c.TITLE not in found
    assert found[f.TARGET_COUNT_TOTAL].tolist()[0] > 0
    nothing = repo.historical(f.RANKER_SERVICE, f.ITEM, rows[:0])
    assert len(nothing) == 0
    assert c.TITLE in nothing
    with pytest.raises(NotFoundError, match="item_statistics"):
        repo.historical(f.RANKER_SERVICE, f.ITEM, rows, views=["item_statistic"])


def test_an_item_is_known_from_its_creation_on(repo):
    created = pd.Timestamp("2024-07-20T00:00:00Z").timestamp()
    rows = asked(("new", created - 1), ("new", created), key=c.ITEM_ID)
    found = repo.historical(f.RANKER_SERVICE, f.ITEM, rows, views=[f.ITEM_PROFILE])
    assert found[c.TITLE].tolist() == [None, "Item new"]


def test_online_equals_offline(repo):
    users = [*(f"u{n}" for n in range(0, 30, 3)), PLANTED, "quiet"]
    rows = asked(*((u, TRAIN_END) for u in users))
    offline = repo.historical(f.RANKER_SERVICE, f.USER, rows)
    offline = offline.join(repo.historical(f.PAGE_SERVICE, f.USER, rows).iloc[:, 2:])
    for n, (user, online) in enumerate(zip(users, repo.online_users(users), strict=True)):
        assert online is not None, user
        expected = {name: plain(offline[name][n]) for name in offline.columns[2:]}
        assert set(online) == set(expected)
        for name, value in online.items():
            assert _same(value, expected[name]), (user, name)


def _is_missing(value):
    return (
        value is None
        or value is pd.NA
        or (not isinstance(value, (str, list)) and math.isnan(value))
    )


def test_online_rows_are_what_get_online_features_gives(repo):
    users = ["u0", "u5", PLANTED, "quiet", "nobody"]
    response = repo.store.get_online_features(
        features=[
            *repo.service_features(f.RANKER_SERVICE, f.USER),
            *repo.service_features(f.PAGE_SERVICE, f.USER),
        ],
        entity_rows=[{c.USER_ID: user} for user in users],
    ).to_dict()
    for n, row in enumerate(repo.online_users(users)):
        if row is None:
            assert users[n] == "nobody"
            row = dict.fromkeys(name for name in response if name != c.USER_ID)  # noqa: PLW2901
        assert set(row) == set(response) - {c.USER_ID}
        assert all(_same(value, response[name][n]) for name, value in row.items())


def test_an_unknown_user_is_none(repo):
    assert repo.online_user("nobody") is None
    assert [row is None for row in repo.online_users(["nobody", "u1"])] == [True, False]
    assert repo.online_users([]) == []


def test_one_item_online(repo):
    row = repo.online_item("i01")
    assert row is not None
    assert (row[c.TITLE], row[c.PRICE]) == ("Item i01", 1.0)
    assert row[f.TARGET_COUNT_TOTAL] > 0
    assert repo.online_item("never") is None


def test_what_is_pushed_is_read(repo):
    events = shop_events()
    own = events[events[c.USER_ID] == PLANTED]
    log = EventLog.build(own, target=EventType.ORDER, time_zone="UTC")
    rows = user_ledger(log, at(62)).set_column(0, c.USER_ID, pa.array(["pushed"]))
    stamp = pa.array(pd.to_datetime([at(62)], unit="s", utc=True), pa.timestamp("us", tz="UTC"))
    repo.push(f.USER_LEDGER, rows.append_column(f.EVENT_TIMESTAMP, stamp))
    row = repo.online_user("pushed")
    assert row is not None
    assert row[f.LEDGER_ITEM_IDS] == ["i04", "i03", "i02", "i01", "i00"]
    assert row[f.LEDGER_AS_OF] == at(62)
    assert row[f.LAST_ACTION_AT] is None  # other views know nothing of this user
    feasts = repo.store.get_online_features(
        features=[f"{f.USER_LEDGER}:{name}" for name in repo.schema.views[f.USER_LEDGER]],
        entity_rows=[{c.USER_ID: "pushed"}],
    ).to_dict()
    assert {name: feasts[name][0] for name in repo.schema.views[f.USER_LEDGER]} == {
        name: row[name] for name in repo.schema.views[f.USER_LEDGER]
    }

    later = rows.set_column(1, f.LEDGER_AS_OF, pa.array([at(63)]))
    repo.push(f.USER_LEDGER, later.append_column(f.EVENT_TIMESTAMP, stamp))
    row = repo.online_user("pushed")
    assert row is not None
    assert row[f.LEDGER_AS_OF] == at(63)


def test_what_is_not_streamed_cannot_be_pushed(repo):
    with pytest.raises(NotFoundError, match="streamed view 'venue_profile'"):
        repo.push(f.VENUE_PROFILE, pa.table({}))


def test_materializing_back_in_time_leaves_nothing_of_the_future(bare):
    workspace = bare()
    dataset = Dataset.open(workspace)
    end = dataset.spec.split.train_end.timestamp()
    moments = snapshots.schedule(end, 7, 8)
    snapshots.build(workspace, dataset, moments)
    repo = FeatureRepo.open(workspace)

    def last_at():
        row = repo.online_user(PLANTED)
        return None if row is None else row[f.LAST_ACTION_AT]

    repo.materialize(end)
    assert last_at() == at(61)
    assert not any(view.written for view in repo.materialize(end + 1))
    early = repo.materialize(moments[0])
    assert all(view.written for view in early)
    assert last_at() is None or last_at() < moments[0]
    repo.materialize(end)
    assert last_at() == at(61)
    with pytest.raises(FeatureStoreError, match="no snapshot of user_tags"):
        repo.materialize(moments[0] - 1)


def test_a_data_set_of_events_alone(bare):
    workspace = bare()
    dataset = Dataset.open(workspace)
    end = dataset.spec.split.train_end.timestamp()
    snapshots.build(workspace, dataset, [end])
    repo = FeatureRepo.open(workspace)
    repo.materialize(end)
    assert repo.schema.affinity_columns == ()
    row = repo.online_user("u1")
    assert row is not None
    assert row[f.MEAN_PRICE] == 0.0
    assert row["purchasing_power"] is None
    assert f.affinity_values(c.CATEGORY) not in row
    found = repo.historical(f.TWO_TOWER_SERVICE, f.USER, asked(("u1", end)))
    assert found[f.LAST_ACTION_AT][0] == row[f.LAST_ACTION_AT]


def test_definitions_are_applied_once(shop, monkeypatch):
    from qianmian.features import feast_store

    FeatureRepo.open(shop)
    monkeypatch.setattr(feast_store, "apply", lambda *_: pytest.fail("applied again"))
    FeatureRepo.open(shop)


@pytest.mark.slow  # Feast's command line imports everything
def test_feasts_own_command_applies_the_definitions(shop, tmp_path):
    values = {
        "QIANMIAN_FEATURES": str(shop.features),
        "QIANMIAN_FEAST": str(tmp_path),
        "QIANMIAN_FEAST_PROJECT": "shop",
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    feast = [Path(sys.executable).parent / "feast", "-c", FEATURE_REPO]
    environment = {**os.environ, **values}
    subprocess.run([*feast, "apply"], check=True, capture_output=True, env=environment)
    registry = (tmp_path / "registry.db").read_bytes()
    for name in (*f.USER_VIEWS, *f.ITEM_VIEWS, *f.VENUE_VIEWS, *SERVICES):
        assert name.encode() in registry


def test_features_must_be_built_first(tmp_path):
    with pytest.raises(FeatureStoreError, match="qianmian features build"):
        FeatureRepo.open(Workspace(tmp_path))

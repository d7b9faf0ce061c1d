"""Item statistics of the stream reach a replica without a reload."""

import numpy as np
import orjson
import pytest

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts import topics
from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.features.encoding import item_dense
from qianmian.venues.conditions import Condition
from qianmian.venues.inventory import Fact, encode
from serving.statistics import Rhythm
from tests.serving import tiny
from tests.serving.shop import service

TRENDING = f.target_users(f.WINDOWS_DAYS[1])


@pytest.fixture
def running(tmp_path):
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    one = service(tmp_path)
    one.start()
    yield one
    one.close()


def told(item, as_of=tiny.NOW, **values):
    row = {**dict.fromkeys(f.ITEM_STATISTICS_NUMERIC, 0.0), **values}
    row |= {f.FIRST_SEEN_AT: tiny.NOW - 9.0, f.LAST_SEEN_AT: tiny.NOW, topics.AS_OF: as_of}
    return {item: orjson.dumps(row)}


def put(one, rows):
    one.engine.changes.put(topics.ITEM_STATISTICS, rows)
    one.listener.catch_up()
    one.refresh()


def trending(one):
    question = RECOMMEND_REQUEST.validate_python(
        {"user": {"id": "nobody yet"}, "blocks": ({"page_size": 5},)}
    )
    return one.recommend("all", question)["blocks"][0]["items"][0]["item_id"]


def test_what_sells_now_comes_first_without_a_reload(running):
    before = running.worlds.world.release
    assert trending(running) == tiny.item_id(tiny.ITEMS - 1)
    item = tiny.item_id(4)
    put(running, told(item, **{TRENDING: 5_000.0, f.PAID_PRICE: 3.25}))
    after = running.worlds.world.release
    assert after.bundle is before.bundle
    assert trending(running) == item
    assert after.pools["all"].pool.trending[0] == 4
    assert after.pools["all"].of_all.items[0] == 4
    table = after.bundle.items
    assert table.statistic(f.PAID_PRICE)[4] == 3.25
    rows = np.array([4], dtype=np.int32)
    ranked = after.bundle.features._item_rows
    assert np.array_equal(ranked[rows], item_dense(table, tiny.NOW, rows))


def test_a_release_that_is_loaded_later_takes_over_what_is_newer_than_its_own(running):
    put(running, told(tiny.item_id(4), **{TRENDING: 5_000.0}))
    put(running, told(tiny.item_id(5), as_of=tiny.END.timestamp() - 1, **{TRENDING: 9_000.0}))
    store = running.worlds._store
    release = tiny.write_release(store, days=1)
    store.promote(release, schema=tiny.SCHEMA, at=tiny.END)
    running.refresh()
    assert running.worlds.world.release.id == release
    statistic = running.worlds.world.release.bundle.items.statistic(TRENDING)
    assert statistic[4] == 5_000.0
    assert statistic[5] == 5.0


def test_items_of_no_release_change_nothing(running):
    put(running, told("nobody knows it", **{TRENDING: 5_000.0}))
    assert trending(running) == tiny.item_id(tiny.ITEMS - 1)


def test_a_rhythm_lets_many_askings_be_one_doing():
    rhythm = Rhythm(10.0)
    assert not rhythm.due(0.0)
    rhythm.ask()
    rhythm.ask()
    assert rhythm.due(1.0)
    rhythm.ask()
    assert not rhythm.due(10.9)
    assert rhythm.due(11.0)
    assert not rhythm.due(99.0)


def test_prices_and_conditions_follow_the_statistics_and_what_was_pushed_stands(running):
    popular = Condition.read(f"{TRENDING} >= 5000")
    shelf = running.worlds.world.release.pools["all"].shelf
    pushed, told_alone = 5, 4
    facts = [Fact(c.PRICE, "all", tiny.item_id(pushed), 9.5)]
    running.engine.changes.put(topics.INVENTORY, encode(facts))
    running.listener.catch_up()
    shelf.catch_up()
    cheap = shelf.holds(Condition.read("price < 3.3"))
    assert not shelf.holds(popular).any()
    rows = told(tiny.item_id(told_alone), **{TRENDING: 5_000.0, f.PAID_PRICE: 3.25})
    rows |= told(tiny.item_id(pushed), **{TRENDING: 5_000.0, f.PAID_PRICE: 3.25})
    put(running, rows)
    assert running.worlds.world.release.pools["all"].shelf is shelf
    version = shelf.version
    shelf.catch_up()
    assert shelf.version > version
    assert np.flatnonzero(shelf.holds(popular)).tolist() == [told_alone, pushed]
    assert shelf.price[[told_alone, pushed]].tolist() == [3.25, 9.5]
    assert shelf.holds(Condition.read("price < 3.3")).tolist() == cheap.tolist()
    kept = shelf.holds(Condition.read('category == "milk"'))
    running.worlds.world.release.reordered()
    shelf.catch_up()
    assert shelf.holds(Condition.read('category == "milk"')) is kept

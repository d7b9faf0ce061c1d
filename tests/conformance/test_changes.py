"""What every engine's topics do: the newest value of each key, in order, for whoever follows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qianmian.events.changes import Change, Changes
from qianmian.events.engine import Engine


@pytest.fixture
def changes(engine: Engine) -> Changes:
    return engine.changes


def test_who_follows_gets_what_changed(changes: Changes, open_again: Callable[[], Engine]) -> None:
    reader = open_again().changes
    assert reader.since(0) == ([], 0)
    changes.put("stock", {"i1": b"4", "i2": b"\x00\xff"})
    first, cursor = reader.since(0)
    assert first == [Change("stock", "i1", b"4"), Change("stock", "i2", b"\x00\xff")]
    assert reader.since(cursor) == ([], cursor)
    changes.put("stock", {"i1": b"3"})
    changes.put("users", {"u1": b""})
    changes.put("stock", {"i2": None, "i1": b"2"})
    later, end = reader.since(cursor)
    assert later == [
        Change("users", "u1", b""),
        Change("stock", "i2", None),
        Change("stock", "i1", b"2"),
    ]
    assert reader.since(end) == ([], end)


def test_who_joins_late_gets_each_key_once(changes: Changes) -> None:
    for count in range(5):
        changes.put("stock", {"i1": b"%d" % count, f"old{count}": b"x"})
    found, cursor = changes.since(0)
    assert [c for c in found if c.key == "i1"] == [Change("stock", "i1", b"4")]
    assert len(found) == 6
    assert changes.since(cursor) == ([], cursor)


def test_pages_of_changes(changes: Changes) -> None:
    changes.put("stock", {f"i{n}": b"%d" % n for n in range(7)})
    found: list[Change] = []
    cursor = 0
    while True:
        page, cursor = changes.since(cursor, limit=3)
        if not page:
            break
        assert len(page) <= 3
        found += page
    assert found == [Change("stock", f"i{n}", b"%d" % n) for n in range(7)]


def test_the_values_of_a_topic(changes: Changes) -> None:
    changes.put("stock", {"i1": b"1", "i2": b"2", "千面": b"3"})
    changes.put("users", {"i1": b"9"})
    changes.put("stock", {"i2": None, "never": None})
    changes.put("stock", {})
    assert changes.get("stock") == {"i1": b"1", "千面": b"3"}
    assert changes.get("nothing") == {}
    changes.put("stock", {"i2": b"again"})
    assert changes.get("stock")["i2"] == b"again"


def test_a_key_is_set_only_from_what_is_expected(changes: Changes) -> None:
    assert changes.value("who", "v") is None
    assert not changes.swap("who", "v", expected=b"a", value=b"b")
    assert changes.swap("who", "v", expected=None, value=b"")
    assert changes.value("who", "v") == b""
    assert not changes.swap("who", "v", expected=None, value=b"b")
    assert changes.swap("who", "v", expected=b"", value=b"b")
    assert changes.swap("who", "v", expected=b"b", value=None)
    assert changes.value("who", "v") is None
    assert changes.swap("who", "v", expected=None, value=b"c")
    found, _ = changes.since(0)
    assert found == [Change("who", "v", b"c")]


def test_of_many_who_set_a_key_one_does(changes: Changes, open_again: Callable[[], Engine]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def claim(number: int) -> bool:
        mine = b"%d" % number
        return open_again().changes.swap("who", "v", expected=None, value=mine)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(16)))
    assert sum(won) == 1
    assert changes.value("who", "v") == b"%d" % won.index(True)


def test_dropped_keys_are_not_told_of(changes: Changes) -> None:
    changes.put("bought", {"k1": b"1", "k2": b"2", "千面": b"3"})
    changes.put("other", {"k1": b"9"})
    _, cursor = changes.since(0)
    changes.drop("bought", ["k1", "千面", "never there"])
    changes.drop("bought", [])
    assert changes.get("bought") == {"k2": b"2"}
    assert changes.since(cursor) == ([], cursor)
    assert changes.since(0)[0] == [Change("bought", "k2", b"2"), Change("other", "k1", b"9")]
    changes.put("bought", {"k1": b"4"})
    assert changes.since(cursor)[0] == [Change("bought", "k1", b"4")]


def test_purged_keys_leave_no_trace(changes: Changes) -> None:
    changes.put("who", {"v1": b"1", "v2": b"2", "v3": b"3"})
    changes.put("who", {"v1": None})
    _, cursor = changes.since(0)
    assert changes.purge("who", ["v1", "v2", "never there"]) == 2
    assert changes.get("who") == {"v3": b"3"}
    assert changes.since(0)[0] == [Change("who", "v3", b"3")]
    changes.put("who", {"v4": b"4"})
    assert changes.since(cursor)[0] == [Change("who", "v4", b"4")]

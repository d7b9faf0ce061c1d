"""What a user remembers: the newest action on each item, whoever tells of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.features.item_table import ItemTable
from qianmian.features.memory import HAD, MEMORY_LENGTH, Memory
from qianmian.features.user_state import SECONDS_PER_DAY, UserState

NOW = 1e9
CLICK = EVENT_CODE[EventType.CLICK]
NO_ITEMS = ItemTable.from_profile(pd.DataFrame({"item_id": []}), ())
ENTRIES = st.dictionaries(st.integers(0, 400), st.integers(1, 10_000), max_size=200)


def user(recent, ledger):
    """Somebody with actions {item: hours ago} in the sequence and in the ledger."""
    nobody = UserState.read("u", None, NO_ITEMS, ())

    def told(entries):
        newest = sorted(entries.items(), key=lambda entry: (entry[1], entry[0]))
        items = np.array([item for item, _ in newest], dtype=np.int32)
        return items, NOW - 3600.0 * np.array([ago for _, ago in newest], dtype=np.float64)

    items, at = told(recent)
    owned, owned_at = told(ledger)
    ledger = replace(nobody.ledger, items=owned, last_at=owned_at)
    codes = np.full(len(items), CLICK, dtype=np.int32)
    return replace(nobody, recent_items=items, recent_codes=codes, recent_at=at, ledger=ledger)


def test_a_click_on_what_was_ordered_long_ago_counts_from_the_click():
    memory = Memory.of(user({7: 1}, {7: 24 * 30, 3: 24 * 2}), NOW)
    assert memory.items[:3].tolist() == [8, 4, 0]
    np.testing.assert_allclose(memory.days[:2], np.log1p([1 / 24, 2]), rtol=1e-5)


def test_what_was_had_is_told_from_what_was_clicked_whatever_came_last():
    memory = Memory.of(user({7: 1, 5: 3}, {7: 24 * 30, 3: 24 * 2}), NOW)
    assert memory.items[:4].tolist() == [8, 6, 4, 0]
    assert memory.types[:4].tolist() == [HAD, CLICK, HAD, 0]


@given(recent=ENTRIES, ledger=ENTRIES)
def test_the_newest_items_are_kept_each_once(recent, ledger):
    memory = Memory.of(user(recent, ledger), NOW)
    both = {**ledger, **recent}
    newest = {i: min(part[i] for part in (recent, ledger) if i in part) for i in both}
    kept = int((memory.items > 0).sum())
    assert kept == min(len(newest), MEMORY_LENGTH)
    assert not memory.items[kept:].any()
    assert not memory.days[kept:].any()
    assert [kind > 0 for kind in memory.types.tolist()] == [True] * kept + [False] * (
        MEMORY_LENGTH - kept
    )
    assert len(set(memory.items[:kept].tolist())) == kept
    hours = np.expm1(memory.days[:kept].astype(float)) * SECONDS_PER_DAY / 3600
    np.testing.assert_allclose(hours, sorted(newest.values())[:kept], rtol=1e-4)
    told = [newest[item - 1] for item in memory.items[:kept].tolist()]
    assert told == sorted(told)


def test_who_did_nothing_remembers_nothing():
    memory = Memory.of(user({}, {}), NOW)
    assert not memory.items.any()
    assert {side.shape for side in memory} == {(MEMORY_LENGTH,)}

"""The history gives a subject's or an item's events, however they were added."""

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.contracts import columns as c
from qianmian.events.rows import contract_rows
from qianmian.features.views import EVENT_COLUMNS
from qianmian.stream import history as module
from qianmian.stream.history import History
from tests.events.made import event

events = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("abc"), st.sampled_from([None, "s", "t"])),
    max_size=40,
)


def made(rows, first=0):
    return [
        event(first + n, subject, item_id=item, session_id=session)
        for n, (subject, item, session) in enumerate(rows)
    ]


def in_order(rows):
    return rows.sort_by([(name, "ascending") for name in EVENT_COLUMNS]).to_pylist()


@settings(max_examples=60)
@given(before=events, batches=st.lists(events, max_size=6), gone=st.sampled_from([None, "u", "x"]))
def test_every_event_is_found_by_subject_and_by_item(before, batches, gone):
    old = made(before)
    history = History(contract_rows(old, EVENT_COLUMNS))
    everything = list(old)
    tail, module.TAIL = module.TAIL, 7  # many small runs
    try:
        for batch in batches:
            new = made(batch, first=len(everything))
            everything += new
            history.add(new)
        if gone is not None:
            history.forget([gone])
            everything = [one for one in everything if one.subject_id != gone]
    finally:
        module.TAIL = tail
    assert len(history) == len(everything)
    table = contract_rows(everything, EVENT_COLUMNS)
    for name, find in ((c.USER_ID, history.of_subjects), (c.ITEM_ID, history.of_items)):
        for wanted in (["u"], ["v", "w"], ["a", "c"], ["nobody"], []):
            expected = table.filter(pc.is_in(table[name], pa.array(wanted, pa.string())))
            assert in_order(find(wanted)) == in_order(expected)
    for item in "abc":
        held = sum(one.item_id == item for one in everything)
        assert history.count_of_item(item) == held


def test_a_column_that_was_empty_before_is_filled_by_new_events(monkeypatch):
    monkeypatch.setattr(module, "TAIL", 3)
    old = contract_rows(made([("u", "a", None)] * 4), EVENT_COLUMNS)
    place = old.column_names.index(c.SESSION_ID)
    nulls = pa.nulls(4).dictionary_encode()  # as pandas gives categories of which there are none
    history = History(old.set_column(place, c.SESSION_ID, nulls))
    history.add(made([("u", "a", "s")] * 3, first=4))
    sessions = history.of_subjects(["u"])[c.SESSION_ID].to_pylist()
    assert sorted(sessions, key=str) == [None] * 4 + ["s"] * 3


def test_quarantined_events_wait_outside():
    history = History()
    history.add([event(1, quarantine="unknown_item"), event(2)])
    assert len(history) == 1
    assert history.of_subjects(["u1"])[c.ITEM_ID].to_pylist() == ["i1"]


def test_runs_merge_however_narrow_the_codes_of_the_import_are(monkeypatch):
    monkeypatch.setattr(module, "TAIL", 4)
    rows = contract_rows([event(n) for n in range(6)], EVENT_COLUMNS)
    narrow = pa.dictionary(pa.int8(), pa.string())  # as pandas' categories come
    for place, name in enumerate(rows.column_names):
        if pa.types.is_string(rows[name].type):
            rows = rows.set_column(place, name, rows[name].cast(narrow))
    history = History(rows)
    history.add([event(n) for n in range(6, 20)])
    assert len(history.of_subjects(["u1"])) == 20

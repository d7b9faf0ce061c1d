import pytest

from qianmian.contracts import features as f
from qianmian.features.user_ledger import user_ledger
from tests.features.small import at, event, log


def test_entries_sum_up_visits():
    rows = [
        event("u", "a", 0, order_id="o1", quantity=2.0),
        event("u", "a", 0, order_id="o1", quantity=1.0),  # a second line of the same basket
        event("u", "b", 0, order_id="o1"),
        event("u", "a", 14, order_id="o2"),
        event("u", "c", 14, order_id="o2"),
        event("u", "d", 15, "click"),
    ]
    (row,) = user_ledger(log(*rows), at(28)).to_pylist()
    assert row[f.LEDGER_AS_OF] == at(28)
    assert row[f.LEDGER_ITEM_IDS] == ["a", "c", "b"]
    assert row[f.LEDGER_COUNTS] == [2, 1, 1]
    assert row[f.LEDGER_QUANTITIES] == [4, 1, 1]
    assert row[f.LEDGER_FIRST_AT] == [at(0), at(14), at(0)]
    assert row[f.LEDGER_LAST_AT] == [at(14), at(14), at(0)]
    assert row[f.ledger_decayed(14)] == pytest.approx([0.25 + 0.5, 0.5, 0.25])
    assert row[f.ledger_decayed(182)] == pytest.approx(
        [0.5 ** (28 / 182) + 0.5 ** (14 / 182), 0.5 ** (14 / 182), 0.5 ** (28 / 182)]
    )


def test_bits_tell_which_of_the_last_visits_held_an_item():
    rows = [
        event("u", "a", 0, order_id="o1"),
        event("u", "b", 0, order_id="o1"),
        event("u", "a", 3, order_id="o2"),
        event("u", "c", 5, order_id="o3"),
        event("u", "d", 6, "click"),  # no visit with a target action
        event("w", "a", 6, order_id="o9"),  # somebody else's
        event("u", "b", 9, order_id="o4"),
    ]
    row = user_ledger(log(*rows), at(10)).to_pylist()[0]
    bits = dict(zip(row[f.LEDGER_ITEM_IDS], row[f.LEDGER_VISITS], strict=True))
    assert bits == {"a": 0b1100, "b": 0b1001, "c": 0b0010}


def test_visits_of_one_moment_count_as_one_and_old_ones_are_left_out():
    rows = [event("u", "a", 0, order_id="o1"), event("u", "b", 0, order_id="o2")]
    rows += [event("u", "c", 1 + n, order_id=f"p{n}") for n in range(f.LEDGER_VISITS_KEPT - 1)]
    rows.append(event("u", "old", -1, order_id="o0"))
    (row,) = user_ledger(log(*rows), at(90)).to_pylist()
    bits = dict(zip(row[f.LEDGER_ITEM_IDS], row[f.LEDGER_VISITS], strict=True))
    last = 1 << (f.LEDGER_VISITS_KEPT - 1)
    assert bits == {"a": last, "b": last, "c": last - 1, "old": 0}


def test_decayed_counts_can_be_carried_forward():
    rows = [event("u", "a", days) for days in (0, 3, 9)]
    (early,), (late,) = (user_ledger(log(*rows), at(d)).to_pylist() for d in (10, 31))
    carried = early[f.ledger_decayed(42)][0] * 0.5 ** (21 / 42)
    assert late[f.ledger_decayed(42)][0] == pytest.approx(carried, rel=1e-6)


def test_a_ledger_keeps_the_newest_entries():
    count = f.LEDGER_LENGTH + 3
    rows = [event("u", f"i{n:05d}", n / 1000) for n in range(count)]
    (row,) = user_ledger(log(*rows), at(9)).to_pylist()
    assert row[f.LEDGER_ITEM_IDS][0] == f"i{count - 1:05d}"
    assert row[f.LEDGER_ITEM_IDS][-1] == "i00003"
    assert len(row[f.LEDGER_COUNTS]) == f.LEDGER_LENGTH


def test_without_target_actions_there_is_no_ledger():
    table = user_ledger(log(event("u", "a", 0, "click")), at(1))
    assert table.num_rows == 0
    assert table.schema.field(f.LEDGER_COUNTS).type == "list<item: float>" or table.num_columns

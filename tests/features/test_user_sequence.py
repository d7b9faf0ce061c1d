from qianmian.contracts import features as f
from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.features.user_sequence import user_sequence
from tests.features.small import at, event, log


def test_the_last_actions_newest_first():
    rows = [
        event("u", "a", 0, "click"),
        event("u", "b", 1, "impression"),
        event("u", "c", 2),
        event("v", "a", 1),
        event("u", "d", 3),
    ]
    first, second = user_sequence(log(*rows), at(3)).to_pylist()
    assert first == {
        "user_id": "u",
        f.RECENT_ITEM_IDS: ["c", "a"],
        f.RECENT_EVENT_CODES: [EVENT_CODE[EventType.ORDER], EVENT_CODE[EventType.CLICK]],
        f.RECENT_AT: [at(2), at(0)],
    }
    assert second["user_id"] == "v"


def test_a_sequence_has_an_end():
    rows = [event("u", f"i{n:03d}", n / 100) for n in range(f.SEQUENCE_LENGTH + 5)]
    (row,) = user_sequence(log(*rows), at(9)).to_pylist()
    assert row[f.RECENT_ITEM_IDS][0] == f"i{f.SEQUENCE_LENGTH + 4:03d}"
    assert len(row[f.RECENT_ITEM_IDS]) == len(row[f.RECENT_AT]) == f.SEQUENCE_LENGTH

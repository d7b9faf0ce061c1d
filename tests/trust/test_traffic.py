from dataclasses import replace

from qianmian.events.event import StoredEvent
from qianmian.trust.flags import find_flags, trusted
from qianmian.trust.rules import TrustRules
from qianmian.trust.traffic import Seen, seen_in


def stored(kind, n, **more):
    given = {
        "event_id": f"{kind}{n}",
        "event_type": kind,
        "timestamp": 1_700_000_000.25 + 0.25 * n,
        "received_at": 1_700_000_100.0,
        "subject_id": "u1",
        "item_id": f"i{n}",
    }
    return StoredEvent(**{**given, **more})


EVENTS = [
    *(stored("cart", n) for n in range(30)),
    stored("order", 40, subject_id="u2", order_id="o", recommendation_id="r"),
    stored("click", 41, subject_id="visitor:d1", visitor_id="d1", shared_by="u9", venue_id="v"),
    stored("click", 42, subject_id="u9", user_id="u9", visitor_id="d1"),
]


def archived(events):
    """The rows as the archive keeps them."""
    import pandas as pd

    return pd.DataFrame(
        {
            "event_id": [e.event_id for e in events],
            "event_type": [e.event_type for e in events],
            "timestamp": pd.to_datetime([e.timestamp for e in events], unit="s", utc=True),
            "received_at": pd.to_datetime([e.received_at for e in events], unit="s", utc=True),
            "user_id": [e.subject_id for e in events],
            "visitor_id": [e.visitor_id for e in events],
            "item_id": [e.item_id for e in events],
            "order_id": [e.order_id for e in events],
            "venue_id": [e.venue_id for e in events],
            "recommendation_id": [e.recommendation_id for e in events],
            "shared_by": [e.shared_by for e in events],
        }
    )


def test_the_stream_and_the_archive_see_the_same():
    assert list(seen_in(archived(EVENTS))) == [Seen.of(event) for event in EVENTS]


def test_untrusted_rows_are_told_with_their_reasons():
    frame = archived(EVENTS)
    kept, reasons = trusted(frame, TrustRules())
    assert reasons == {"burst": 30, "self_share": 1, "unseen_order": 1}
    flagged = {f.event_id for f in find_flags(seen_in(frame), TrustRules())}
    assert set(frame["event_id"][~kept]) == flagged
    assert frame["event_id"][kept].tolist() == ["click42"]


def test_tables_may_lack_what_is_optional():
    frame = archived(EVENTS)[["event_id", "event_type", "timestamp", "user_id", "item_id"]]
    assert trusted(frame, TrustRules())[1] == {"burst": 30}


def test_imported_history_is_not_asked_for_impressions_that_nobody_kept():
    orders = [stored("order", n, order_id="o", venue_id="18") for n in range(3)]
    late = [replace(order, received_at=order.timestamp + 90 * 86_400) for order in orders]
    assert {f.reason for f in find_flags(map(Seen.of, orders), TrustRules())} == {"unseen_order"}
    assert find_flags(map(Seen.of, late), TrustRules()) == []
    assert list(seen_in(archived(late))) == [Seen.of(order) for order in late]

from dataclasses import fields

import numpy as np
from msgspec.structs import replace

from qianmian.events.event import StoredEvent
from qianmian.trust.flags import find_flags, untrusted
from qianmian.trust.rules import TrustRules
from qianmian.trust.traffic import Seen, Traffic, seen_in


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


def same(one, other):
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Traffic)
    )


def test_the_stream_and_the_archive_see_the_same():
    assert same(Traffic.of_frame(archived(EVENTS)), Traffic.of(map(Seen.of, EVENTS)))
    assert seen_in(archived(EVENTS)) == [Seen.of(event) for event in EVENTS]


def test_untrusted_events_are_told_with_their_reasons():
    found = untrusted(archived(EVENTS), TrustRules())
    assert found.reasons == {"burst": 30, "self_share": 1, "unseen_order": 1}
    assert found.event_ids == {f.event_id for f in find_flags(map(Seen.of, EVENTS), TrustRules())}
    assert {event.event_id for event in EVENTS} - found.event_ids == {"click42"}
    assert str(found).startswith("32 of 33 logged events are not trusted: burst 30, ")


def test_tables_may_lack_what_is_optional():
    frame = archived(EVENTS)[["event_id", "event_type", "timestamp", "user_id", "item_id"]]
    assert untrusted(frame, TrustRules()).reasons == {"burst": 30}


def test_imported_history_is_not_asked_for_impressions_that_nobody_kept():
    orders = [stored("order", n, order_id="o", venue_id="18") for n in range(3)]
    late = [replace(order, received_at=order.timestamp + 90 * 86_400) for order in orders]
    assert {f.reason for f in find_flags(map(Seen.of, orders), TrustRules())} == {"unseen_order"}
    assert find_flags(map(Seen.of, late), TrustRules()) == []
    assert untrusted(archived(late), TrustRules()).reasons == {}

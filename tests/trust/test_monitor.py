from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.trust.flags import find_flags
from qianmian.trust.monitor import TrustMonitor
from qianmian.trust.rules import (
    Burst,
    ClickRate,
    SelfShare,
    SharedDevice,
    TrustRules,
    UnseenOrder,
)
from qianmian.trust.store import FlagStore
from tests.trust.traffic import seen, visit

TIGHT = TrustRules(
    click_rate=ClickRate(window_seconds=20, min_clicks=2, max_rate=0.5),
    burst=Burst(window_seconds=5, max_actions=2),
    shared_device=SharedDevice(window_seconds=40, max_users=1),
    unseen_order=UnseenOrder(lookback_seconds=40, grace_seconds=5),
    self_share=SelfShare(window_seconds=30),
)
DAY = 86_400.0
NAMES = st.sampled_from(["", "a", "b", "c"])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["impression", "click", "order", "cart"]),
        st.integers(0, 250),  # three times what the monitor remembers
        st.sampled_from(["", "u1", "u2", "u3"]),
        st.sampled_from(["", "d1", "d2"]),
        NAMES,
        st.sampled_from(["", "page"]),
        NAMES,
        st.sampled_from(["", "", "u1", "u2"]),
    ),
    max_size=40,
)


def stream(rows):
    return [
        seen(
            kind,
            at,
            user,
            device=device or ("" if user else "d1"),
            item=item,
            page=page,
            order=order,
            shared_by=shared_by,
            event_id=f"e{n}",
        )
        for n, (kind, at, user, device, item, page, order, shared_by) in enumerate(rows)
    ]


def of(flags, event_ids):
    return {flag for flag in flags if flag.event_id in event_ids}


@settings(max_examples=300)
@given(rows=EVENTS, size=st.integers(1, 7))
def test_batch_by_batch_and_all_at_once_flag_the_same(rows, size):
    events = stream(rows)
    monitor, newest, held = TrustMonitor(TIGHT), 0.0, set()
    for start in range(0, len(events), size):
        batch = events[start : start + size]
        verdict = monitor.judge(batch)
        at_once = set(find_flags(events[: start + size], TIGHT))
        late = {e.event_id for e in batch if e.at <= newest - TIGHT.memory_seconds}
        assert {f for f in verdict.flags if f.reason == "unseen_order"} <= at_once
        judged = {event.event_id for event in verdict.judged}
        held = {f for f in held if f.event_id not in judged} | set(verdict.flags)
        newest = max([newest, *(event.at for event in batch)])
        fresh = {e.event_id for e in events if e.at > newest - TIGHT.memory_seconds}
        known = (judged - late) | fresh
        assert of(held, known) == of(at_once, known)


@given(rows=EVENTS, seed=st.randoms())
def test_the_order_of_arrival_decides_nothing(rows, seed):
    events = stream(rows)
    shuffled = list(events)
    seed.shuffle(shuffled)
    assert find_flags(shuffled, TIGHT) == find_flags(events, TIGHT)


def a_purchase(user="u1"):
    shown = seen("impression", 0, user, item="i1", page="r")
    return shown, seen("order", 6 * DAY, user, item="i1", page="r", order="o")


def test_an_order_stays_honest_when_its_impression_is_forgotten():
    monitor, (shown, order) = TrustMonitor(TrustRules()), a_purchase()
    later = seen("click", 14.4 * DAY, "u2"), seen("click", 14.5 * DAY, "u1")
    verdicts = [monitor.judge([event]) for event in (shown, order, *later)]
    assert order in verdicts[1].judged
    assert order not in verdicts[3].judged
    assert [verdict.flags for verdict in verdicts] == [()] * 4
    assert [verdict.undecided for verdict in verdicts] == [0] * 4


def test_an_order_is_undecided_where_there_was_no_room_for_its_impression():
    monitor, (shown, order) = TrustMonitor(TrustRules(), remembered=5), a_purchase()
    monitor.judge([shown, *(seen("click", n, "u2") for n in range(1, 6))])
    verdict = monitor.judge([order])
    assert (verdict.judged, verdict.flags, verdict.undecided) == ((order,), (), 1)
    unseen = seen("order", 8 * DAY, "u3", item="i1", page="r", order="o")
    assert [flag.event_id for flag in monitor.judge([unseen]).flags] == [unseen.event_id]


def test_what_is_too_old_to_matter_is_forgotten():
    monitor, rules = TrustMonitor(TrustRules()), TrustRules()
    days = int(2 * rules.memory_seconds / 86_400) + 20
    for day in range(days):
        monitor.judge(visit(f"u{day}", 86_400.0 * day))
    each = len(visit("u", 0.0))
    assert len(monitor) <= each * (2 * rules.memory_seconds / 86_400 + 1)


def test_no_more_is_remembered_than_there_is_room_for():
    monitor = TrustMonitor(TrustRules(), remembered=10)
    verdict = monitor.judge(visit("u1", 0.0))
    assert len(verdict.judged) == len(visit("u1", 0.0))
    assert len(monitor) == 10


def test_a_flag_goes_when_its_reason_goes(tmp_path):
    store, monitor = FlagStore(tmp_path / "events" / "flags.sqlite"), TrustMonitor(TrustRules())
    order = seen("order", 100, "u1", item="i1", page="r", order="o")
    store.settle(monitor.judge([order]))
    assert store.counts() == {"unseen_order": 1}
    assert [(f.event_id, f.reason, f.event_type, f.subject_id) for f in store.newest(5)] == [
        (order.event_id, "unseen_order", "order", "u1")
    ]
    store.settle(monitor.judge([seen("impression", 50, "u1", item="i1", page="r")]))
    assert store.counts() == {}
    assert store.total() == 0


def test_flags_of_a_subject_can_be_erased(tmp_path):
    store, monitor = FlagStore(tmp_path / "flags.sqlite"), TrustMonitor(TrustRules())
    orders = [seen("order", 9, u, item="i", page="r", order=u) for u in ("u1", "u2")]
    store.settle(monitor.judge(orders))
    assert store.total() == 2
    assert store.erase(["u1"]) == 1
    assert [flag.subject_id for flag in store.newest(9)] == ["u2"]

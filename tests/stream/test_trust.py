from qianmian.data.archive import Archive
from qianmian.data.archive_writer import writing
from qianmian.data.store import Dataset
from qianmian.events.rows import contract_rows
from qianmian.stream.trust import TrustPart
from qianmian.trust.rules import TrustRules
from qianmian.trust.store import FLAGS_FILE, FlagStore
from tests.stream.conftest import sent

DAY = 86_400


def storm(start):
    return [sent(n, "u1", "i01", "cart", timestamp=1e9 + 0.1 * n) for n in range(start, start + 12)]


def test_flags_come_to_stand_beside_the_log(shop):
    streaming = shop.start()
    shop.send(*storm(0))
    streaming.drain()
    flags = FlagStore(shop.workspace.events / FLAGS_FILE)
    assert flags.counts() == {}
    again = shop.start()  # as after a restart: what was committed is remembered, not judged again
    shop.send(*storm(12))
    again.drain()
    assert flags.counts() == {"burst": 24}
    assert flags.total() == 24
    log, _ = shop.engine.events.read("", 100)
    assert len(log) == 24  # nothing left it
    ids = [event.event_id for event in log]
    assert flags.flagged([*ids[:3], "another"]) == set(ids[:3])


def test_what_was_archived_is_remembered_left_out_of_training_and_kept(shop):
    streaming = shop.start()
    shop.send(*storm(0))
    streaming.drain()
    assert streaming.archiver.archive_all() == 12
    again = shop.start()
    shop.send(*storm(12), sent(90, "u2", "i02", timestamp=1e9))
    again.drain()
    assert FlagStore(shop.workspace.events / FLAGS_FILE).counts() == {"burst": 24}
    again.archiver.archive_all()
    dataset = Dataset.open(shop.workspace)
    assert str(dataset.untrusted()) == "24 of 25 logged events are not trusted: burst 24"
    logged = dataset.events(["user_id", "event_type", "timestamp"], since=1e9, until=1e9 + 60)
    assert logged["event_type"].tolist() == ["order"]
    assert len(dataset.archive.read(["event_id"])) == 25


def test_a_restart_remembers_for_what_an_archived_order_was_shown(tmp_path):
    page = {"venue_id": "18", "order_id": "o"}
    shown = sent(0, "u1", "i01", "impression")
    orders = [sent(6 * DAY + n, user, "i01", **page) for n, user in enumerate(("u1", "u2"))]
    flags = FlagStore(tmp_path / "flags.db")
    part = TrustPart(TrustRules(), flags)
    part.take([shown, *orders])
    part.flush(0.0)
    assert flags.counts() == {"unseen_order": 1}
    with writing(Archive(tmp_path / "archive")) as archive:
        rows = [*orders, shown, sent(8 * DAY, "u3", "i01", "click")]
        archive.append(contract_rows(rows), "", {})
    part = TrustPart(TrustRules(), flags)
    part.remember(Archive(tmp_path / "archive"))
    part.take([sent(8 * DAY + 1, "u1", "i02", "click"), sent(5 * DAY, "u2", "i01", "impression")])
    part.flush(0.0)
    assert (flags.counts(), part.undecided) == ({}, 0)

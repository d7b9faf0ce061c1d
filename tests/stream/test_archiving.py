"""From the log to the archive: each event once, whenever the process dies."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.data.archive import Archive
from qianmian.data.archive_writer import writing
from qianmian.data.store import Dataset
from qianmian.errors import EventStoreError
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.events.rows import contract_rows
from qianmian.features import snapshots
from qianmian.stream.archiver import ARCHIVE_GROUP, ArchivePart, Archiver
from qianmian.stream.settings import ArchiveSettings
from qianmian.workspace import Workspace
from tests.events.made import event
from tests.stream.conftest import NOW, REMEMBER_SECONDS, sent

HOUR = 3600.0


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path, "d")


@pytest.fixture
def log(workspace):
    engine = open_engine(SqliteEngine(), workspace)
    yield engine.events
    engine.close()


@pytest.fixture
def archive(workspace):
    return Archive(workspace.archive)


def archived(archive):
    rows = archive.read([c.EVENT_ID])
    return [] if rows is None else sorted(rows[c.EVENT_ID].to_pylist())


def received(number, hours, **more):
    return event(number, received_at=hours * HOUR, **more)


def test_windows_leave_the_log_once_they_are_closed(log, archive):
    archiver = Archiver(log, archive, ArchiveSettings(close_after_seconds=60))
    log.append([received(1, 10.2), received(2, 10.9), received(3, 11.1)])
    assert archiver.archive_closed(11 * HOUR + 59) == 0
    assert archiver.archive_closed(11 * HOUR + 61) == 2
    assert archived(archive) == ["e1", "e2"]
    assert [one.event_id for one in log.read("", 10)[0]] == ["e3"]
    assert log.lag(ARCHIVE_GROUP) == 1
    assert archiver.archive_closed(11 * HOUR + 62) == 0
    assert log.append([received(2, 10.9)]) == [False]  # still known


def test_events_of_a_clock_that_was_set_back_are_not_stuck(log, archive):
    log.append([received(1, 5000.0), received(2, 10.0)])
    archiver = Archiver(log, archive, ArchiveSettings())
    assert archiver.archive_closed(12 * HOUR) == 2


def test_nothing_leaves_before_the_stream_has_worked_it_in(log, archive):
    log.append([received(n, 1.0) for n in range(6)])
    _, cursor = log.read("", 4)
    log.commit("stream", cursor)
    archiver = Archiver(log, archive, ArchiveSettings(events_at_once=3))
    assert archiver.archive_all() == 4
    assert archived(archive) == ["e0", "e1", "e2", "e3"]
    log.commit("stream", log.read("", 10)[1])
    assert archiver.archive_all() == 2


def test_nothing_leaves_before_it_was_charged_nor_a_closed_window_before_it_was_raced(log, archive):
    archiver = Archiver(log, archive, ArchiveSettings())
    log.append([received(number, 10) for number in range(4)])
    for group, read in (("stream", 4), ("billing", 2), ("racing", 1)):
        log.commit(group, log.read("", read)[1])
    assert archiver.archive_closed(12 * HOUR) == 1
    assert archiver.archive_all() == 1
    assert archived(archive) == ["e0", "e1"]


@pytest.mark.parametrize("step", ["append", "trim", "commit"])
def test_an_error_at_any_step_is_made_good(log, archive, monkeypatch, step):
    log.append([received(n, 1.0) for n in range(6)])
    archiver = Archiver(log, archive, ArchiveSettings(events_at_once=4))
    owner = log if step != "append" else "qianmian.data.archive_writer.replace_text"

    def fail(*_):
        raise EventStoreError("no space left")

    with monkeypatch.context() as broken:
        if step == "append":
            broken.setattr(owner, fail)
        else:
            broken.setattr(log, step, fail)
        with pytest.raises(EventStoreError):
            archiver.archive_all()
    archiver.archive_all()
    assert archived(archive) == [f"e{n}" for n in range(6)]
    assert log.read("", 10)[0] == []


KILLED = """
    import sys
    from pathlib import Path
    from qianmian.data.archive import Archive
    from qianmian.events.engine import SqliteEngine, open_engine
    from qianmian.stream.archiver import Archiver
    from qianmian.stream.settings import ArchiveSettings
    from qianmian.workspace import Workspace

    workspace = Workspace(Path(sys.argv[1]), "d")
    engine = open_engine(SqliteEngine(), workspace)
    settings = ArchiveSettings(events_at_once=40, parts_a_day=3)
    archiver = Archiver(engine.events, Archive(workspace.archive), settings)
    print("ready", flush=True)
    archiver.archive_all()
    print("done", flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost_or_doubled(log, archive, workspace):
    events = [received(n, 1.0, timestamp=NOW + 86_400 * (n % 3)) for n in range(800)]
    log.append(events)
    rng, kills = random.Random(3), 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(workspace.root)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.3))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        rest = process.communicate()[0]
        here = {one.event_id for one in log.read("", 10_000)[0]}
        there = archived(archive)
        assert len(there) == len(set(there))
        assert here | set(there) == {one.event_id for one in events}
        if "done" in rest:
            break
    Archiver(log, archive, ArchiveSettings()).archive_all()
    assert archived(archive) == sorted(one.event_id for one in events)
    assert log.read("", 10)[0] == []
    assert kills >= 1


@pytest.fixture
def another_log(workspace, tmp_path):
    engine = open_engine(SqliteEngine(folder=tmp_path / "moved"), workspace)
    yield engine.events
    engine.close()


def test_another_log_is_archived_from_its_beginning(log, another_log, archive):
    log.append([received(n, 1.0) for n in range(10, 30)])
    assert Archiver(log, archive, ArchiveSettings()).archive_closed(3 * HOUR) == 20
    another_log.append([received(n, 4.0) for n in range(30, 35)])
    assert Archiver(another_log, archive, ArchiveSettings()).archive_closed(6 * HOUR) == 5
    log.append([received(n, 7.0) for n in range(35, 40)])  # and back again
    assert Archiver(log, archive, ArchiveSettings()).archive_closed(9 * HOUR) == 5
    assert archived(archive) == [f"e{n}" for n in range(10, 40)]
    assert (log.size(), another_log.size()) == (0, 0)


def test_a_backup_of_the_log_loses_and_doubles_nothing(log, another_log, archive):
    events = [received(n, 1.0) for n in range(10, 20)]
    log.append(events)
    Archiver(log, archive, ArchiveSettings()).archive_all()
    another_log.append(events[:6])  # the log as it was before
    another_log.append([received(n, 2.0) for n in range(20, 30)])
    Archiver(another_log, archive, ArchiveSettings(events_at_once=4)).archive_all()
    assert archived(archive) == [f"e{n}" for n in range(10, 30)]
    assert another_log.size() == 0


def test_what_was_archived_and_not_trimmed_is_told_by_its_ids(log, archive):
    """As an archiver leaves it that dies between the two, whatever version it was."""
    events = [received(n, 1.0 + 4e-11) for n in range(10, 20)]  # the archive rounds the moment
    log.append(events)
    with writing(archive) as writer:
        writer.append(contract_rows(events[:6]), log.read("", 6)[1])
    Archiver(log, archive, ArchiveSettings()).archive_all()
    assert archived(archive) == [f"e{n}" for n in range(10, 20)]


def test_the_part_archives_beside_the_stream(log, archive):
    log.append([received(n, 1.0) for n in range(5)])
    settings = ArchiveSettings(look_seconds=1e-9)
    part = ArchivePart(Archiver(log, archive, settings), settings)
    part.flush(10 * HOUR)
    part.close()
    assert part.archived == 5


def test_ids_are_forgotten_once_a_retry_is_too_old(shop, monkeypatch):
    shop.send(sent(1, "u1", "i19"))
    streaming = shop.start(archive={"look_seconds": 1e-9})
    streaming.drain()
    archived_at = NOW + 2 * HOUR
    for now, new in (
        (archived_at, False),
        (NOW + REMEMBER_SECONDS, False),
        (NOW + REMEMBER_SECONDS + 2, True),
    ):
        streaming.archive.flush(now)
        streaming.archive.close()
        assert shop.engine.events.append([sent(1, "u1", "i19")]) == [new]
    assert streaming.archive.archived == 1


def test_features_are_the_same_before_and_after_archiving(shop):
    shop.send(sent(1, "u1", "i19"), sent(2, "visitor:d", "i18"), sent(3, "u1", "i01", "impression"))
    streaming = shop.start()
    streaming.drain()
    before = shop.user("u1")
    streaming.archiver.archive_all()
    assert shop.engine.events.size() == 0
    again = shop.start()
    shop.send(sent(4, "u1", "i17", "impression"), sent(5, "visitor:d", "i16"))
    again.drain()
    after = shop.user("u1")
    assert after[f.LEDGER_ITEM_IDS] == before[f.LEDGER_ITEM_IDS]
    assert after[f.EXPOSED_ITEM_IDS][:2] == ["i17", "i01"]
    assert shop.user("visitor:d")[f.LEDGER_ITEM_IDS] == ["i16", "i18"]


def test_a_stream_that_missed_archived_events_works_them_in(shop):
    shop.send(sent(1, "u1", "i19"))
    shop.start().archiver.archive_all()  # no stream ever read it
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] != "i19"
    shop.start().drain()
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] == "i19"


def test_a_stream_on_another_log_works_all_of_it_in(shop, tmp_path):
    shop.send(*(sent(n, "u1", f"i{n:02d}") for n in range(10, 15)))
    streaming = shop.start()
    streaming.drain()
    streaming.archiver.archive_all()
    moved = SqliteEngine(folder=tmp_path / "moved")
    with open_engine(moved, shop.workspace) as engine:
        shop.engine, former = engine, shop.engine
        shop.send(*(sent(n, "u2", f"i{n:02d}") for n in range(15, 18)))
        streaming = shop.start()
        assert streaming.drain() == 3
        assert shop.user("u2")[f.LEDGER_ITEM_IDS][:3] == ["i17", "i16", "i15"]
        assert streaming.archiver.archive_all() == 3
    shop.engine = former
    assert archived(Archive(shop.workspace.archive)) == [f"e{n}" for n in range(10, 18)]


def test_a_retrain_sees_what_was_archived(shop, run_cli):
    train_end = Dataset.open(shop.workspace).spec.split.train_end
    shop.send(sent(1, "u1", "i19"), sent(2, "u1", "i18", "impression", propensity=0.5))
    streaming = shop.start()
    streaming.drain()
    streaming.archiver.archive_all()
    done = run_cli(shop.workspace, "data", "split", "--train-end", "2024-08-23T00:00:00")
    assert "training sees events before 2024-08-23 00:00:00 UTC" in done.output
    dataset = Dataset.open(shop.workspace)
    events = dataset.train_events([c.USER_ID, c.EVENT_TYPE, c.PROPENSITY, c.ATTRIBUTED])
    served = events[events[c.ATTRIBUTED].notna()]
    assert served[c.EVENT_TYPE].tolist() == ["order", "impression"]
    end = dataset.spec.split.train_end.timestamp()
    assert end > NOW > train_end.timestamp()
    kept = snapshots.FeatureSchema.load(shop.workspace.features).thresholds
    report = snapshots.build(shop.workspace, dataset, [end])
    assert report.written > 0
    assert snapshots.FeatureSchema.load(shop.workspace.features).thresholds == kept
    run_cli(shop.workspace, "features", "materialize")
    row = shop.user("u1")
    assert row[f.LEDGER_ITEM_IDS][0] == "i19"
    assert row[f.EXPOSED_ITEM_IDS][0] == "i18"
    assert snapshots.build(shop.workspace, dataset, [end]).written == 0
    done = run_cli(shop.workspace, "data", "split", "--reset")
    assert f"before {train_end:%F %T}" in done.output


def test_a_stream_that_starts_with_a_long_log_misses_nothing_of_it(shop):
    shop.send(*(sent(n, "u1", "i19") for n in range(5)))
    shop.now = NOW + 3 * HOUR
    streaming = shop.start(read_events=1)
    assert streaming.archiver.archive_closed(shop.now) == 0
    assert streaming.drain() == 5  # its archiving thread may have begun meanwhile
    streaming.archiver.archive_closed(shop.now)
    assert len(archived(Archive(shop.workspace.archive))) == 5

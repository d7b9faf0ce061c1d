"""Events in, fresh features out: the whole stream over a real log and a real online store."""

from dataclasses import replace
from datetime import UTC, datetime
from time import time

import orjson
import pandas as pd
import pytest

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts import topics
from qianmian.data.splitting import move_split
from qianmian.data.store import Dataset
from qianmian.errors import EventStoreError
from qianmian.features import snapshots
from qianmian.features.event_log import EventLog
from qianmian.features.schema import FeatureSchema
from qianmian.features.store import FeatureRepo
from qianmian.features.views import EVENT_COLUMNS, FeatureInputs
from qianmian.identity.merging import Merger
from qianmian.stream.process import GROUP, alone
from qianmian.stream.status import read_status
from tests.features.conftest import TRAIN_END
from tests.features.small import DAY
from tests.stream.conftest import NOW, SKEW_SECONDS, sent


def test_the_next_read_sees_what_was_ordered(shop):
    before = shop.user("u1")
    streaming = shop.start()
    shop.send(sent(1, "u1", "i19"), sent(2, "u1", "i18", "click"))
    assert streaming.drain() == 2
    after = shop.user("u1")
    assert after[f.RECENT_ITEM_IDS][:2] == ["i18", "i19"]
    assert after[f.LEDGER_ITEM_IDS][0] == "i19"
    assert after[f.TARGET_COUNT_TOTAL] > before[f.TARGET_COUNT_TOTAL]
    assert after[f.LEDGER_AS_OF] >= NOW + 2  # just after the newest event, whose clock is ahead
    assert set(shop.engine.changes.get(topics.USERS)) == {"u1"}
    assert shop.engine.events.lag(GROUP) == 0


def test_an_event_of_a_clock_that_is_ahead_stays_with_the_next_one(shop):
    streaming = shop.start()
    for event in (sent(200, "u1", "ahead"), sent(1, "u1", "i18"), sent(2, "u2", "ahead")):
        shop.send(event)
        streaming.drain()
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][:2] == ["ahead", "i18"]
    assert told_of(shop, "ahead") == 2.0


def test_events_of_before_the_clock_was_set_back_do_not_move_the_moment(shop):
    streaming = shop.start()
    shop.send(sent(5_000, "u1", "later"))
    streaming.drain()
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] == "later"
    shop.send(sent(1, "u1", "i18"))
    streaming.drain()
    row = shop.user("u1")
    assert row[f.LEDGER_ITEM_IDS][0] == "i18"
    assert row[f.LEDGER_AS_OF] <= NOW + SKEW_SECONDS + 1


def test_users_and_items_that_nobody_knew(shop):
    streaming = shop.start()
    shop.send(
        sent(1, "visitor:d-7", "i01", "click"),
        sent(2, "visitor:d-7", "brand new", "order", value=4.0, quantity=2.0),
    )
    streaming.drain()
    row = shop.user("visitor:d-7")
    assert row[f.RECENT_ITEM_IDS] == ["brand new", "i01"]
    assert row[f.MEAN_PRICE] == 2.0
    assert row["life_cycle"] == "new"
    told = shop.engine.changes.get(topics.ITEM_STATISTICS)
    assert orjson.loads(told["brand new"])[f.TARGET_COUNT_TOTAL] == 1.0


def test_an_impression_changes_exposure_alone(shop):
    before = shop.user("u2")
    streaming = shop.start()
    shop.send(
        sent(1, "u2", "i01", "impression"),
        sent(2, "u2", "i01", "impression"),
        sent(3, "u2", "i02", "dislike"),
    )
    streaming.drain()
    after = shop.user("u2")
    assert after[f.EXPOSED_ITEM_IDS][0] == "i01"
    assert after[f.EXPOSED_COUNTS][0] == 2
    assert after[f.DISLIKED_ITEM_IDS] == ["i02"]
    shown = set(after) & {f.EXPOSED_ITEM_IDS, f.EXPOSED_COUNTS, f.EXPOSED_AT}
    same = set(after) - shown - {f.DISLIKED_ITEM_IDS, f.DISLIKED_AT}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_a_stream_that_died_before_its_commit_does_the_work_again_to_no_effect(shop, monkeypatch):
    shop.send(*(sent(n, f"u{n % 5}", f"i{n % 7:02d}") for n in range(40)))
    dying = shop.start(read_events=25)
    dying.stream.step()
    monkeypatch.setattr(shop.engine.events, "commit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dying.stream.step()  # written, told, and dead before the checkpoint
    monkeypatch.undo()
    rows = [shop.user(f"u{n}") for n in range(5)]
    again = shop.start()
    assert again.drain() == 15
    assert [shop.user(f"u{n}") for n in range(5)] == rows


def test_a_stream_goes_on_with_what_came_before(shop):
    shop.send(sent(1, "fresh", "i01"), sent(2, "fresh", "i02"))
    assert shop.start().drain() == 2
    shop.send(sent(3, "fresh", "i03"))
    assert shop.start().drain() == 1
    assert shop.user("fresh")[f.LEDGER_ITEM_IDS] == ["i03", "i02", "i01"]


def told_of(shop, item):
    told = shop.engine.changes.get(topics.ITEM_STATISTICS).get(item)
    return told and orjson.loads(told)[f.TARGET_COUNT_TOTAL]


def test_draining_leaves_no_item_waiting(shop):
    shop.send(*(sent(n, "u1", f"new{n}") for n in range(3)))
    streaming = shop.start(statistics_seconds=60, statistics_rows=1)
    streaming.drain()
    assert [told_of(shop, f"new{n}") for n in range(3)] == [1.0, 1.0, 1.0]


def test_items_that_waited_when_the_stream_stopped_are_computed_by_the_next(shop):
    shop.send(*(sent(n, "u1", f"new{n}") for n in range(2)))
    stopped = shop.start(statistics_seconds=60, statistics_rows=1)
    assert stopped.stream.step() == 2
    assert [told_of(shop, f"new{n}") for n in range(2)] == [1.0, None]
    again = shop.start()
    assert again.stream.step() == 0
    assert told_of(shop, "new1") == 1.0


def test_many_events_of_a_subject_are_one_computation(shop):
    shop.send(*(sent(n, f"busy{n % 3}", f"i{n % 20:02d}") for n in range(900)))
    streaming = shop.start()
    streaming.drain()
    status = read_status(shop.engine.changes)
    assert status is not None
    assert (status.events, status.subjects, status.lag_events) == (900, 3, 0)
    assert not status.running


def test_what_cannot_be_written_now_is_written_later(shop, monkeypatch):
    streaming = shop.start()
    shop.send(sent(1, "u3", "i05"))
    put = shop.engine.changes.put
    failing = [EventStoreError("no space left")]

    def once(topic, values):
        if failing:
            raise failing.pop()
        put(topic, values)

    monkeypatch.setattr(shop.engine.changes, "put", once)
    with pytest.raises(EventStoreError):
        streaming.stream.step()
    assert shop.engine.events.lag(GROUP) == 1
    assert streaming.stream.step() == 1
    assert set(shop.engine.changes.get(topics.USERS)) == {"u3"}
    assert shop.user("u3")[f.LEDGER_ITEM_IDS].count("i05") == 1


def merger(shop):
    return Merger(shop.engine.changes, grace_seconds=60, clock=lambda: 0.0)


def look_at_merges(streaming):
    streaming.stream._parts[0]._next = 0.0
    streaming.drain()
    streaming.drain()


def test_merged_visitors_count_as_the_user(shop):
    streaming = shop.start()
    shop.send(sent(1, "visitor:d", "i11"), sent(2, "u4", "i12"))
    streaming.drain()
    assert "i11" not in shop.user("u4")[f.LEDGER_ITEM_IDS][:2]
    merger(shop).merge("d", "u4")
    again = shop.start()
    shop.send(sent(3, "visitor:d", "i13"))
    again.drain()
    assert shop.user("u4")[f.LEDGER_ITEM_IDS][:3] == ["i13", "i12", "i11"]


def test_a_merge_alone_moves_the_history(shop):
    streaming = shop.start()
    shop.send(sent(1, "visitor:d", "i11"))
    streaming.drain()
    merger(shop).merge("d", "u4")
    look_at_merges(streaming)
    assert shop.user("u4")[f.LEDGER_ITEM_IDS][0] == "i11"


def test_a_merge_while_no_stream_ran_moves_the_history_at_its_start(shop):
    shop.send(sent(1, "visitor:d", "i11"))
    shop.start().drain()
    Merger(shop.engine.changes, grace_seconds=60, clock=time).merge("d", "u4")
    shop.start().drain()
    assert shop.user("u4")[f.LEDGER_ITEM_IDS][0] == "i11"


def test_a_merge_is_kept_in_mind_when_the_engine_fails_behind_it(shop, monkeypatch):
    shop.send(sent(1, "visitor:d", "i11"))
    streaming = shop.start()
    streaming.drain()
    merger(shop).merge("d", "u4")
    since, asked = shop.engine.changes.since, []

    def failing(cursor, limit=10_000):
        asked.append(cursor)
        if len(asked) == 2:
            raise EventStoreError("locked")
        return since(cursor, limit)

    monkeypatch.setattr(shop.engine.changes, "since", failing)
    streaming.stream._parts[0]._next = 0.0
    with pytest.raises(EventStoreError):
        streaming.stream.step()
    streaming.stream._parts[0]._next = 0.0
    streaming.stream.step()
    assert shop.user("u4")[f.LEDGER_ITEM_IDS][0] == "i11"


def test_taking_a_merge_apart_gives_both_their_own_history_again(shop):
    streaming = shop.start()
    shop.send(sent(1, "visitor:d", "i11"), sent(2, "u4", "i12"))
    streaming.drain()
    before = shop.user("u4")[f.LEDGER_ITEM_IDS]
    merger(shop).merge("d", "u4")
    again = shop.start()
    shop.send(sent(3, "visitor:d", "i13"))
    again.drain()
    assert shop.user("u4")[f.LEDGER_ITEM_IDS][:3] == ["i13", "i12", "i11"]
    merger(shop).unmerge("d")
    look_at_merges(again)
    assert shop.user("u4")[f.LEDGER_ITEM_IDS] == before
    assert shop.user("visitor:d")[f.LEDGER_ITEM_IDS] == ["i13", "i11"]


def test_an_account_without_events_of_its_own_has_none_left_after_a_merge_is_taken_apart(shop):
    streaming = shop.start()
    shop.send(sent(1, "visitor:d", "i11"), sent(2, "visitor:d", "i12", "dislike"))
    streaming.drain()
    merger(shop).merge("d", "fresh")
    look_at_merges(streaming)
    assert shop.user("fresh")[f.LEDGER_ITEM_IDS] == ["i11"]
    merger(shop).unmerge("d")
    look_at_merges(streaming)
    assert shop.user("fresh") == {}
    assert shop.user("visitor:d")[f.LEDGER_ITEM_IDS] == ["i11"]
    shop.send(sent(3, "fresh", "i13"))
    streaming.drain()
    assert shop.user("fresh")[f.RECENT_ITEM_IDS] == ["i13"]


def told_statistics(shop, item):
    return orjson.loads(shop.engine.changes.get(topics.ITEM_STATISTICS)[item])


def batch_statistics(shop, item, as_of):
    dataset = Dataset.open(shop.workspace)
    inputs = FeatureInputs.of_stream(dataset, FeatureSchema.load(shop.workspace.features))
    frame = dataset.events(list(EVENT_COLUMNS))
    log = EventLog.build(frame, target=inputs.log.target, time_zone=dataset.spec.time_zone)
    rows = replace(inputs, log=log).compute(f.ITEM_STATISTICS, as_of).to_pylist()
    return next(row for row in rows if row.pop(c.ITEM_ID) == item)


def test_a_merged_visitor_and_its_user_are_one_person_in_item_statistics(shop):
    streaming = shop.start()
    shop.send(sent(0, "visitor:d", "tea"), sent(3 * DAY, "fresh", "tea"))
    shop.now += 3 * DAY + 1
    streaming.drain()
    assert told_statistics(shop, "tea")[f.target_users(28)] == 2.0
    merger(shop).merge("d", "fresh")
    look_at_merges(streaming)
    streaming.archiver.archive_all()
    told = told_statistics(shop, "tea")
    assert told[f.target_users(28)] == 1.0
    assert (told[f.REPEAT_RATE], told[f.REPEAT_INTERVAL_DAYS]) == (1.0, 3.0)
    assert batch_statistics(shop, "tea", told.pop(topics.AS_OF)) == told
    merger(shop).unmerge("d")
    look_at_merges(streaming)
    assert told_statistics(shop, "tea")[f.target_users(28)] == 2.0


def by_split_column(workspace):
    declared, events = workspace.data / c.DATASET_FILE, workspace.data / c.EVENTS_FILE
    declared.write_text(declared.read_text().replace("by: time", "by: column"))
    pd.read_parquet(events).assign(**{c.SPLIT: "train"}).to_parquet(events, index=False)


def test_archived_events_of_a_data_set_with_a_split_column_move_back_with_their_visitor(shop):
    by_split_column(shop.workspace)
    shop.send(sent(1, "visitor:d", "i11"), sent(2, "visitor:d", "i12"))
    merger(shop).merge("d", "fresh")
    before = shop.start()
    before.drain()
    assert before.archiver.archive_all() == 2
    streaming = shop.start()
    merger(shop).unmerge("d")
    look_at_merges(streaming)
    assert shop.user("fresh") == {}
    assert shop.user("visitor:d")[f.LEDGER_ITEM_IDS] == ["i12", "i11"]


def test_filling_the_online_store_anew_loses_nothing_of_the_stream(shop):
    streaming = shop.start()
    shop.send(sent(1, "u1", "i19"))
    streaming.drain()
    (shop.workspace.feast / "materialized.json").unlink()
    FeatureRepo.open(shop.workspace).materialize(TRAIN_END)
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] != "i19"
    shop.start().drain()
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] == "i19"


@pytest.mark.parametrize("archived", ["never", "after the build", "before the build"])
def test_filling_the_online_store_anew_loses_nothing_that_the_snapshot_could_not_see(
    shop, archived
):
    shop.send(sent(1, "u1", "i19"))
    shop.now = NOW + 20
    streaming = shop.start()
    streaming.drain()
    if archived == "before the build":
        streaming.archiver.archive_all()
    move_split(shop.workspace, datetime.fromtimestamp(NOW + 10, UTC))
    snapshots.build(shop.workspace, Dataset.open(shop.workspace), [NOW + 10])
    if archived == "after the build":
        streaming.archiver.archive_all()
    FeatureRepo.open(shop.workspace).materialize(NOW + 10)
    seen = archived == "before the build"
    assert (shop.user("u1")[f.LEDGER_ITEM_IDS][0] == "i19") == seen
    shop.start().drain()
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] == "i19"
    status = read_status(shop.engine.changes)
    assert status is not None
    assert status.subjects == (0 if seen else 1)  # nobody is computed for nothing


def test_one_stream_for_each_data_set(shop):
    with (
        alone(shop.workspace.events),
        pytest.raises(EventStoreError, match="another stream of this data set is running"),
        alone(shop.workspace.events),
    ):
        pass
    with alone(shop.workspace.events):
        pass

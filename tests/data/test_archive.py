"""The archive: whole or not at all, each event once, one log with the import."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.contracts import columns as c
from qianmian.data.archive import MANIFEST_FILE, Archive
from qianmian.data.archive_writer import writing
from qianmian.data.store import Dataset
from qianmian.errors import DataError
from qianmian.events.rows import contract_rows
from qianmian.workspace import Workspace
from tests.data.conftest import small_tables, write_tables
from tests.events.made import NOW, event

DAY = 86_400.0


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "archive")


def add(archive, *events, cursor="1", owners=None):
    with writing(archive) as writer:
        writer.append(contract_rows(events), cursor, owners)


def ids(archive, **span):
    rows = archive.read([c.EVENT_ID], **span)
    return [] if rows is None else sorted(rows[c.EVENT_ID].to_pylist())


def files(archive):
    return sorted(str(path.relative_to(archive.folder)) for path in archive.folder.glob("date=*/*"))


def test_an_archive_that_is_not_there_is_empty(archive):
    assert archive.read() is None
    assert archive.columns() == []
    assert archive.manifest().cursor == ""
    assert archive.manifest().digest(NOW) == ""


def test_events_lie_by_the_day_of_their_own_time(archive):
    late = event(3, timestamp=NOW - 2 * DAY)
    add(archive, event(1), event(2), late, cursor="3")
    assert files(archive) == [
        "date=2017-12-03/part-000001.parquet",
        "date=2017-12-05/part-000002.parquet",
    ]
    assert ids(archive) == ["e1", "e2", "e3"]
    assert archive.manifest().cursor == "3"
    assert ids(archive, since=NOW + 1, until=NOW + 2) == ["e1"]
    assert ids(archive, until=NOW) == ["e3"]


def test_a_day_of_many_parts_becomes_one(archive):
    for number in range(5):
        add(archive, event(number), event(number + 10, timestamp=NOW - DAY * (number % 2)))
    before = archive.manifest()
    rows = archive.read().sort_by(c.EVENT_ID)
    with writing(archive) as writer:
        assert writer.compact(2) == 4
        assert writer.compact(2) == 0
    after = archive.manifest()
    assert archive.read().sort_by(c.EVENT_ID).equals(rows)
    assert (after.rows, after.digest(NOW + DAY)) == (before.rows, before.digest(NOW + DAY))
    assert len(files(archive)) == len(after.parts)


def test_the_digest_changes_with_the_events_before_a_moment(archive):
    add(archive, event(1))
    before = archive.manifest().digest(NOW + DAY)
    add(archive, event(2, timestamp=NOW + 5 * DAY))
    assert archive.manifest().digest(NOW + DAY) == before
    add(archive, event(3))
    assert archive.manifest().digest(NOW + DAY) != before


def test_erasing_leaves_no_bytes(archive):
    add(archive, event(1, "gone"), event(2, "stays"), owners={"visitor:x": "gone"})
    add(archive, event(3, "stays", timestamp=NOW - DAY))
    untouched = files(archive)[0]
    with writing(archive) as writer:
        assert writer.erase(["gone"]) == 1
    assert ids(archive) == ["e2", "e3"]
    assert archive.manifest().owners == {}
    assert untouched in files(archive)
    for path in archive.folder.rglob("*"):
        assert path.is_dir() or b"gone" not in path.read_bytes()
    with writing(archive) as writer:
        assert writer.erase(["gone", "nobody"]) == 0


def test_what_the_manifest_does_not_name_is_not_there(archive):
    add(archive, event(1))
    orphan = archive.folder / "date=2017-12-05" / "part-000009.parquet"
    orphan.write_bytes(b"half written")
    assert ids(archive) == ["e1"]
    add(archive, event(2))
    assert not orphan.exists()


def test_a_damaged_manifest_is_refused(archive):
    add(archive, event(1))
    (archive.folder / MANIFEST_FILE).write_text("{}x")
    with pytest.raises(DataError, match="not an archive manifest"):
        archive.read()


def test_merged_subjects_are_read_as_their_owners(archive):
    add(archive, event(1, "visitor:d"), event(2, "other"), owners={"visitor:d": "ann"})
    assert sorted(archive.read([c.USER_ID])[c.USER_ID].to_pylist()) == ["ann", "other"]


numbers = st.lists(st.integers(0, 40), max_size=12, unique=True)


@settings(max_examples=25)
@given(batches=st.lists(numbers, max_size=6), most=st.integers(1, 3), gone=st.integers(0, 3))
def test_whatever_is_done_each_event_is_there_once(tmp_path_factory, batches, most, gone):
    archive = Archive(tmp_path_factory.mktemp("a"))
    expected: dict[str, str] = {}
    for number, batch in enumerate(batches):
        fresh = [n for n in batch if f"e{n}" not in expected]
        some = [event(n, f"u{n % 4}", timestamp=NOW + DAY * (n % 3)) for n in fresh]
        expected |= {one.event_id: one.subject_id for one in some}
        add(archive, *some, cursor=str(number))
        with writing(archive) as writer:
            writer.compact(most)
    with writing(archive) as writer:
        writer.erase([f"u{gone}"])
    assert ids(archive) == sorted(one for one, owner in expected.items() if owner != f"u{gone}")
    assert archive.manifest().rows == len(ids(archive))


@pytest.fixture
def import_events(tmp_path, run):
    """Import the small shop, with further items."""

    def make(items=(), *, split=False, first_id=0):
        tables = small_tables()
        size = len(tables["events.parquet"][c.USER_ID])
        tables["events.parquet"][c.EVENT_ID] = [f"e{first_id + n}" for n in range(size)]
        if split:
            tables["events.parquet"][c.SPLIT] = ["test"] + ["train"] * (size - 1)  # not by time
        described = tables["items.parquet"]
        for name, values in described.items():
            values.extend([*items] if name == c.ITEM_ID else [None] * len(items))
        folder = write_tables(tmp_path / "source", tables)
        done = run("data", "import", str(folder), "--name", "shop")
        assert done.exit_code == 0, done.output
        return Dataset.open(Workspace(tmp_path / "home", "shop"))

    return make


def test_one_log_of_imported_and_archived_events(import_events):
    dataset = import_events()
    imported = dataset.events()
    at = imported[c.TIMESTAMP].iloc[2].timestamp() + 0.5
    add(
        dataset.archive,
        event(21, "new", timestamp=at, position=3, venue_id="v"),
        event(22, "new", timestamp=at + 1e7, quarantine="unknown_item", item_id="no such"),
        event(23, "new", timestamp=at + 1e7, event_type="impression"),
        event(5, "new", timestamp=at + 0.1),  # imported, too
    )
    frame = dataset.events()
    assert len(frame) == len(imported) + 2
    assert frame[c.TIMESTAMP].is_monotonic_increasing
    assert frame[c.EVENT_ID].notna().sum() >= 2
    assert set(imported.columns) <= set(dataset.event_columns()) == set(frame.columns)
    row = frame.iloc[3]
    assert (row[c.USER_ID], row[c.POSITION], row[c.VENUE_ID]) == ("new", 3.0, "v")
    assert dataset.events([c.USER_ID], until=at + 1)[c.USER_ID].tolist().count("new") == 1
    assert list(dataset.events([c.ITEM_ID, c.USER_ID]).columns) == [c.ITEM_ID, c.USER_ID]
    assert str(frame[c.USER_ID].dtype) == "category"
    assert frame[c.VALUE].dtype == np.float64


def test_archived_events_that_are_imported_later_count_once(import_events):
    dataset = import_events(first_id=100)
    imported = len(dataset.events())
    add(dataset.archive, event(1, "new"), event(2, "new"), event(30, "new"))
    assert len(dataset.events([c.ITEM_ID])) == imported + 3
    dataset = import_events()
    assert len(dataset.events([c.ITEM_ID])) == imported + 1
    assert dataset.events(until=NOW + 3)[c.USER_ID].tolist() == []
    add(dataset.archive, event(3, "new"), event(31, "new"))
    assert len(dataset.events()) == imported + 2


def test_an_item_that_came_to_be_known_counts(import_events):
    dataset = import_events(items=["now known"])
    at = dataset.events([c.TIMESTAMP])[c.TIMESTAMP].iloc[0].timestamp()
    unknown = {"timestamp": at, "quarantine": "unknown_item"}
    add(
        dataset.archive,
        event(21, "new", item_id="now known", **unknown),
        event(22, "new", item_id="still unknown", **unknown),
        event(23, "new", timestamp=at, quarantine="unknown_venue"),
    )
    frame = dataset.events([c.USER_ID, c.ITEM_ID])
    assert frame[frame[c.USER_ID] == "new"][c.ITEM_ID].tolist() == ["now known"]


def test_archived_events_that_all_wait_leave_a_data_set_with_a_split_readable(import_events):
    dataset = import_events(split=True)
    before = dataset.train_events()
    add(dataset.archive, event(21, quarantine="unknown_item", item_id="no such"))
    assert dataset.train_events().equals(before)


@pytest.mark.parametrize("split", [False, True])
def test_training_events_of_merged_visitors_can_be_read_as_their_own(import_events, split):
    dataset = import_events(split=split)
    at = dataset.train_events([c.TIMESTAMP])[c.TIMESTAMP].iloc[0].timestamp()
    add(dataset.archive, event(21, "visitor:d", timestamp=at), owners={"visitor:d": "ann"})
    assert "visitor:d" not in set(dataset.train_events([c.USER_ID])[c.USER_ID])
    assert "visitor:d" in set(dataset.train_events([c.USER_ID], merged=False)[c.USER_ID])


def test_schema_of_rows_is_that_of_the_contract():
    from qianmian.data.schemas import CONTRACT

    rows = contract_rows([event(1)])
    for name, rule in CONTRACT[c.EVENTS_FILE].items():
        if name in rows.column_names:
            assert rows.schema.field(name).type == rule.kind.arrow, name
    assert pc.all(pc.is_valid(rows[c.RECEIVED_AT])).as_py()
    assert isinstance(rows, pa.Table)

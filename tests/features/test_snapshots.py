from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event

import pyarrow.parquet as pq
import pytest

from qianmian.contracts import features as f
from qianmian.data.archive_writer import writing
from qianmian.data.splitting import move_split
from qianmian.data.store import Dataset
from qianmian.errors import DataError, FieldError
from qianmian.events.rows import contract_rows
from qianmian.features import snapshots
from qianmian.features.schema import FeatureSchema
from qianmian.features.snapshot_files import moments_of, newest, snapshot_path
from qianmian.folder_lock import holding
from tests.events.made import event as stored
from tests.features.conftest import SNAPSHOT_DAYS, TRAIN_END
from tests.features.small import at

DAYS = [at(day) for day in SNAPSHOT_DAYS]


def test_a_schedule_counts_back_from_its_end():
    assert snapshots.schedule(at(9), every_days=2, count=3) == [at(5), at(7), at(9)]
    with pytest.raises(FieldError, match="count=0: expected 1 or more"):
        snapshots.schedule(0.0, 1, 0)
    with pytest.raises(FieldError, match="every_days"):
        snapshots.schedule(0.0, 0, 1)


def test_every_view_has_a_file_a_moment(shop):
    for view, fields in FeatureSchema.load(shop.features).views.items():
        timeless = view in (f.ITEM_PROFILE, f.VENUE_PROFILE)
        assert moments_of(shop.features / view) == ([0.0] if timeless else DAYS)
        table = pq.read_table(snapshot_path(shop.features / view, 0.0 if timeless else DAYS[0]))
        assert table.column_names[1:] == [*fields, f.EVENT_TIMESTAMP]


def test_a_second_build_writes_nothing(shop):
    report = snapshots.build(shop, Dataset.open(shop), DAYS)
    assert (report.written, report.kept, report.moments) == (0, 23, tuple(DAYS))


def test_what_is_missing(bare):
    workspace = bare()
    dataset = Dataset.open(workspace)
    assert snapshots.missing(workspace, DAYS) == DAYS
    snapshots.build(workspace, dataset, DAYS[1:])
    assert snapshots.missing(workspace, DAYS[1:]) == []
    assert snapshots.missing(workspace, DAYS) == DAYS[:1]
    about = workspace.data / "dataset.yaml"
    about.write_text(about.read_text() + "# other data\n")
    assert snapshots.missing(workspace, DAYS[1:]) == DAYS[1:]


def test_a_killed_build_goes_on_where_it_stood(bare):
    workspace = bare()
    dataset = Dataset.open(workspace)
    end = dataset.spec.split.train_end.timestamp()
    moments = snapshots.schedule(end, 7, 3)

    def die(_view, done, _total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshots.build(workspace, dataset, moments, progress=die)
    (workspace.features / f.USER_LEDGER / ".20240101T000000.partial").write_text("half a file")
    report = snapshots.build(workspace, dataset, moments)
    assert report.kept >= 4
    assert (report.written + report.kept, report.written > 0) == (18, True)
    assert moments_of(workspace.features / f.USER_LEDGER) == moments


def test_a_build_waits_for_another_one_and_says_so(bare):
    workspace = bare()
    workspace.features.mkdir(parents=True, exist_ok=True)
    told, waiting = [], Event()

    def tell(what, done, of):
        told.append((what, of))
        waiting.set()

    with ThreadPoolExecutor(1) as pool:
        with holding(workspace.features):
            dataset = Dataset.open(workspace)
            built = pool.submit(snapshots.build, workspace, dataset, DAYS, progress=tell)
            assert waiting.wait(30)
            assert told == [("waiting for another build", len(DAYS))]
            assert not list(workspace.features.iterdir())
        assert built.result(60).kept == 0
    assert snapshots.missing(workspace, DAYS) == []


def test_other_data_or_force_begin_anew(bare):
    workspace = bare()
    dataset = Dataset.open(workspace)
    moments = [dataset.spec.split.train_end.timestamp()]
    assert snapshots.build(workspace, dataset, moments).written == 6
    assert snapshots.build(workspace, dataset, moments, force=True).written == 6
    record = workspace.data / "import.json"
    record.write_text(record.read_text() + " ")
    assert snapshots.build(workspace, dataset, moments).written == 6


@pytest.mark.parametrize("step", ["reading events", "item_profile"])
def test_a_build_killed_at_any_step_keeps_the_levels_of_tags(home, step):
    kept = FeatureSchema.load(home.features).thresholds
    move_split(home, datetime.fromtimestamp(at(66), UTC))
    dataset = Dataset.open(home)

    def die(written, _done, _total):
        if written.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshots.build(home, dataset, [at(66)], progress=die)
    assert snapshots.build(home, dataset, [at(66)]).written > 0
    assert FeatureSchema.load(home.features).thresholds == kept
    assert snapshots.build(home, dataset, [at(55), at(66)]).written > 0  # of another profile
    assert FeatureSchema.load(home.features).thresholds == kept
    snapshots.build(home, dataset, [at(66)], force=True)
    assert FeatureSchema.load(home.features).thresholds != kept


def test_snapshots_know_what_of_the_archive_they_may_lack(home):
    dataset = Dataset.open(home)
    snapshots.build(home, dataset, DAYS, force=True)
    assert snapshots.next_part(home) == 1
    with writing(dataset.archive) as writer:
        writer.append(contract_rows([stored(1, timestamp=TRAIN_END + 1)]), "1")
    snapshots.build(home, dataset, [at(45), *DAYS])
    assert snapshots.next_part(home) == 1  # for those that were there
    snapshots.build(home, dataset, DAYS, force=True)
    assert snapshots.next_part(home) == 2


def test_moments_outside_the_training_period(shop):
    dataset = Dataset.open(shop)
    with pytest.raises(FieldError, match="a moment up to the end of training"):
        snapshots.build(shop, dataset, [TRAIN_END + 1])
    with pytest.raises(DataError, match="no snapshot lies after the first event"):
        snapshots.build(shop, dataset, [at(-5)])


def test_a_moment_within_a_second_has_a_name_of_its_own(tmp_path):
    for moment in (at(0), at(0) + 0.25):
        snapshot_path(tmp_path, moment).touch()
    assert moments_of(tmp_path) == [at(0), at(0) + 0.25]
    assert newest(tmp_path, at(0) + 0.2) == at(0)

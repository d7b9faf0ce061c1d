"""`qianmian data import`: whole or not at all, recognised again, read back unchanged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.data.install import tidy
from qianmian.data.normalise import complete_times
from qianmian.data.store import Dataset
from qianmian.errors import DataError, FieldError, NotFoundError
from qianmian.workspace import Workspace
from tests.data.conftest import START, small_tables, write_tables

LARGE = 250_000


@pytest.fixture
def shop(run, tmp_path) -> Dataset:
    folder = write_tables(tmp_path / "shop", small_tables(), "time_zone: Europe/Paris\n")
    assert run("data", "import", folder).exit_code == 0
    return Dataset.open(Workspace(tmp_path / "home", "shop"))


def test_what_is_left_out_is_derived(shop):
    spec = shop.spec
    assert (spec.name, spec.title, spec.licence) == ("shop", "shop", "not stated")
    assert (spec.time_zone, spec.currency, spec.target) == ("Europe/Paris", "EUR", "order")
    assert spec.users.categorical == ("city", "member")
    assert spec.users.numeric == ("age",)
    assert spec.users.multi == ("hobbies",)
    assert spec.items.categorical == ("category",)
    assert spec.items.affinity == ("category",)
    assert spec.items.numeric == ("price",)
    assert spec.split.train_end == START + timedelta(hours=18)
    assert spec.split.test_end == START + timedelta(hours=19, seconds=1)


def test_tables_are_read_back(shop):
    events = shop.events()
    assert len(events) == 20
    assert events["timestamp"].is_monotonic_increasing
    assert str(events["timestamp"].dtype) == "datetime64[us, UTC]"
    assert isinstance(events["user_id"].dtype, pd.CategoricalDtype)
    assert shop.users()["member"].tolist() == ["true", "false", None, "true"]
    assert [list(h) if h is not None else None for h in shop.users()["hobbies"]] == [
        ["tea"],
        [],
        None,
        ["go", "tea"],
    ]
    assert shop.items()["title"].tolist()[0] == "Item 0"
    venues = shop.venues()
    assert venues["name"].tolist() == ["Mid-year", "1111"]
    assert list(venues.columns) == ["venue_id", "name", "starts_at", "ends_at", "kind"]
    assert venues["ends_at"].isna().tolist() == [False, True]
    assert len(shop.venue_items()) == 3


def test_until_is_strict_and_columns_are_pruned(shop):
    moment = START + timedelta(hours=6)
    before = shop.events(["user_id", "timestamp"], until=moment)
    assert list(before.columns) == ["user_id", "timestamp"]
    assert before["timestamp"].max() == moment - timedelta(hours=1)
    pd.testing.assert_frame_equal(
        before, shop.events(["user_id", "timestamp"], until=moment.timestamp())
    )
    two = shop.events(["item_id"], until=START + timedelta(hours=2))
    assert list(two["item_id"].cat.categories) == ["i0", "i1"]
    assert len(shop.train_events()) == 18
    assert shop.test_events(["timestamp"])["timestamp"].min() == shop.spec.split.train_end
    with pytest.raises(DataError, match="has no column price, stars; it has user_id"):
        shop.events(["user_id", "stars", "price"])
    with pytest.raises(FieldError, match=r"until=.*expected a moment with a time zone"):
        shop.events(until=datetime(2024, 6, 1))  # noqa: DTZ001


def test_optional_tables_are_none_where_absent(run, tmp_path):
    tables = {"events.parquet": small_tables()["events.parquet"]}
    run("data", "import", write_tables(tmp_path / "d", tables), "--name", "bare")
    bare = Dataset.open(Workspace(tmp_path / "home", "bare"))
    assert [bare.users(), bare.items(), bare.venues(), bare.venue_items()] == [None] * 4
    with pytest.raises(NotFoundError, match=r"unknown data set 'bear', did you mean 'bare'\?"):
        Dataset.open(Workspace(tmp_path / "home", "bear"))


def test_a_second_import_says_already_there(run, tmp_path):
    folder = write_tables(tmp_path / "d", small_tables())
    assert "imported into" in run("data", "import", folder).output
    stored = tmp_path / "home" / "d" / "data" / "events.parquet"
    first = stored.stat().st_mtime_ns
    again = run("data", "import", folder)
    assert (again.exit_code, again.output) == (0, f"already there: {stored.parent}\n")
    assert stored.stat().st_mtime_ns == first
    assert "imported into" in run("data", "import", folder, "--force").output

    write_tables(folder, {"users.parquet": {"user_id": ["u0"]}})
    assert "users.parquet 1," in run("data", "import", folder).output


def test_other_data_under_the_same_name_needs_force(run, tmp_path):
    first = write_tables(tmp_path / "a", small_tables())
    tables = small_tables()
    del tables["users.parquet"]
    other = write_tables(tmp_path / "b", tables)
    run("data", "import", first, "--name", "shop")
    refused = run("data", "import", other, "--name", "shop")
    assert refused.exit_code == 2
    assert f"imported from {first}" in refused.output
    assert run("data", "import", other, "--name", "shop", "--force").exit_code == 0
    for name in ("Shop", "a/b", ".."):
        assert "choose another --name" in run("data", "import", other, "--name", name).output


def test_a_refused_import_leaves_nothing_and_keeps_what_was_there(run, tmp_path):
    folder = write_tables(tmp_path / "d", small_tables())
    bad = small_tables()
    bad["events.parquet"]["event_type"][0] = "clik"
    refused = run("data", "import", write_tables(tmp_path / "bad", bad))
    assert refused.exit_code == 2
    assert "1 fault, so it cannot be imported" in refused.output
    assert not (tmp_path / "home").exists()

    run("data", "import", folder)
    before = sorted((tmp_path / "home").rglob("*"))
    write_tables(folder, bad)
    assert run("data", "import", folder).exit_code == 2
    assert sorted((tmp_path / "home").rglob("*")) == before
    assert len(Dataset.open(Workspace(tmp_path / "home", "d")).events()) == 20


def test_what_was_stored_is_itself_in_the_contracts_form(run, tmp_path, shop):
    assert run("data", "import", shop.folder, "--name", "copy").exit_code == 0
    copy = Dataset.open(Workspace(tmp_path / "home", "copy"))
    assert copy.spec == shop.spec.model_copy(update={"name": "copy"})
    for file in ("events", "users", "items", "venues", "venue_items"):
        pd.testing.assert_frame_equal(getattr(copy, file)(), getattr(shop, file)())


def test_list(run, tmp_path):
    assert "no data set below" in run("data", "list").output
    run("data", "import", write_tables(tmp_path / "d", small_tables()), "--name", "shop")
    assert "shop  20      4      5      order   2024-06-01 to 2024-06-01" in (
        run("data", "list").output
    )
    (row,) = json.loads(run("data", "list", "--json").output)
    assert (row["name"], row["summary"]["users"]) == ("shop", 4)
    assert row["source"] == str(tmp_path / "d")


def test_the_folders_own_split_is_kept(run, tmp_path):
    tables = small_tables()
    splits = ["train", "test"] * 10
    tables["events.parquet"]["split"] = splits
    run("data", "import", write_tables(tmp_path / "mixed", tables))
    mixed = Dataset.open(Workspace(tmp_path / "home", "mixed"))
    assert mixed.spec.split.by == "column"
    assert mixed.test_events(["event_id"])["event_id"].tolist() == [
        f"e{n}" for n in range(1, 20, 2)
    ]
    assert mixed.train_events()["split"].unique().tolist() == ["train"]

    tables["events.parquet"]["split"] = ["train"] * 15 + ["test"] * 5
    run("data", "import", write_tables(tmp_path / "apart", tables))
    apart = Dataset.open(Workspace(tmp_path / "home", "apart")).spec.split
    assert (apart.by, apart.train_end) == ("time", START + timedelta(hours=15))


def test_unknown_times_are_set_from_the_split(run, tmp_path):
    tables = small_tables()
    tables["events.parquet"]["timestamp"] = pa.nulls(20, pa.timestamp("us", tz="UTC"))
    tables["events.parquet"]["split"] = ["test"] * 4 + ["train"] * 16
    done = run("data", "import", write_tables(tmp_path / "d", tables))
    assert "20 unknown, set from the split" in done.output
    timeless = Dataset.open(Workspace(tmp_path / "home", "d"))
    assert timeless.spec.split.by == "time"
    assert timeless.test_events()["split"].unique().tolist() == ["test"]
    assert timeless.train_events(["event_id"])["event_id"].tolist() == [
        f"e{n}" for n in range(4, 20)
    ]


times = st.none() | st.integers(0, 10**6).map(lambda s: START + timedelta(seconds=s))


@given(st.lists(st.tuples(st.sampled_from(["train", "valid", "test"]), times), min_size=1))
def test_completed_times_keep_known_ones_and_never_precede_their_split(rows):
    splits, stamps = zip(*rows, strict=True)
    events = pa.table(
        {"timestamp": pa.array(stamps, pa.timestamp("us", tz="UTC")), "split": list(splits)}
    )
    completed, unknown = complete_times(events)
    after = completed["timestamp"].to_pylist()
    assert unknown == stamps.count(None)
    assert all(a == b for a, b in zip(after, stamps, strict=True) if b is not None)
    frame = pd.DataFrame({"split": splits, "at": after, "known": [s is not None for s in stamps]})
    for _, rows_of_split in frame.groupby("split"):
        known = rows_of_split[rows_of_split["known"]]["at"]
        set_ = rows_of_split[~rows_of_split["known"]]["at"]
        assert set_.is_monotonic_increasing
        assert known.empty or set_.empty or set_.min() == known.min()
    if unknown == len(rows):
        ends = frame.groupby("split")["at"].agg(["min", "max"]).reindex(["train", "valid", "test"])
        ordered = ends.dropna().to_numpy().ravel()
        assert list(ordered) == sorted(ordered)


@pytest.fixture(scope="session")
def large_folder(tmp_path_factory) -> Path:
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("large")
    base = int(START.timestamp() * 1_000_000)
    moments = pa.array(base + rng.integers(0, 10**13, LARGE)).cast(pa.timestamp("us", tz="UTC"))
    events = pa.table(
        {
            "user_id": pa.array(rng.integers(0, 10**5, LARGE)).cast(pa.string()),
            "item_id": pa.array(rng.integers(0, 10**5, LARGE)).cast(pa.string()),
            "event_type": pa.repeat(pa.scalar("click"), LARGE),
            "timestamp": moments,
            "event_id": pa.array(rng.permutation(LARGE)).cast(pa.string()),
            "order_id": pa.array(rng.integers(0, 10**9, LARGE)).cast(pa.string()),
        }
    )
    pq.write_table(events, folder / "events.parquet")
    return folder


def interrupted(home: Path, folder: Path, sign: signal.Signals) -> None:
    """Start an import and send it a signal while it writes."""
    command = [sys.executable, "-m", "qianmian.cli.main", "--home", str(home), "data", "import"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job ignores it,
    process = subprocess.Popen(  # and so would the import
        [*command, str(folder), "--name", "big", "--force"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    signal.signal(signal.SIGINT, before)
    written = home / "big" / ".data-new" / "events.parquet"
    deadline = time.monotonic() + 120
    while not written.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(sign)
    assert process.wait(timeout=60) != 0, "the import ended before the signal came"


def test_a_killed_import_leaves_no_data_and_the_next_one_clears_up(run, tmp_path, large_folder):
    home = tmp_path / "home"
    interrupted(home, large_folder, signal.SIGKILL)
    assert (home / "big" / ".data-new").exists()
    assert "no data set below" in run("data", "list").output
    with pytest.raises(NotFoundError):
        Dataset.open(Workspace(home, "big"))

    done = run("data", "import", large_folder, "--name", "big")
    assert "imported into" in done.output
    assert [p.name for p in (home / "big").iterdir()] == ["data"]
    assert len(Dataset.open(Workspace(home, "big")).events(["user_id"])) == LARGE

    interrupted(home, large_folder, signal.SIGKILL)
    assert len(Dataset.open(Workspace(home, "big")).events(["user_id"])) == LARGE
    assert "already there" in run("data", "import", large_folder, "--name", "big").output
    assert [p.name for p in (home / "big").iterdir()] == ["data"]


def test_an_import_stopped_by_hand_cleans_up_itself(tmp_path, large_folder):
    interrupted(tmp_path / "home", large_folder, signal.SIGINT)
    assert not (tmp_path / "home" / "big").exists()


def test_data_moved_aside_by_a_kill_between_the_renames_comes_back(run, tmp_path, shop):
    workspace = Workspace(tmp_path / "home", "shop")
    workspace.data.rename(workspace.path / ".data-old")
    tidy(workspace)
    assert len(Dataset.open(workspace).events()) == 20


def test_two_imports_of_one_data_set_do_not_meet(run, tmp_path, shop):
    import fcntl

    handle = os.open(tmp_path / "home" / "shop", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        refused = run("data", "import", tmp_path / "shop", "--force")
    finally:
        os.close(handle)
    assert refused.exit_code == 2
    assert "another import of data set 'shop' is running" in refused.output


def test_moments_are_utc_whatever_the_machines_zone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        run("data", "import", write_tables(tmp_path / "d", small_tables()))
        stored = Dataset.open(Workspace(tmp_path / "home", "d"))
        assert stored.spec.split.train_end == datetime(2024, 6, 1, 18, tzinfo=UTC)
        assert len(stored.events(until=START.timestamp() + 3600)) == 1
    finally:
        monkeypatch.undo()
        time.tzset()

"""`qianmian data check`: every fault of a folder, all together, each with its remedy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.data.checks import check
from qianmian.data.folder import read_folder
from qianmian.data.schemas import CONTRACT
from tests.data.conftest import START, small_tables, write_tables

NAIVE = [moment.replace(tzinfo=None) for moment in small_tables()["events.parquet"]["timestamp"]]
SECONDS = [int(moment.timestamp()) for moment in small_tables()["events.parquet"]["timestamp"]]


def faults(run, folder: Path) -> list[dict]:
    done = run("data", "check", folder, "--json")
    report = json.loads(done.output)
    assert done.exit_code == (2 if report["faults"] else 0)
    assert report["ok"] == (not report["faults"])
    return report["faults"]


def test_a_sound_folder_passes_with_a_summary(run, tmp_path):
    folder = write_tables(tmp_path / "Shop One", small_tables())
    done = run("data", "check", folder)
    assert done.exit_code == 0, done.output
    assert "shop-one" in done.output
    assert "4 users, 5 items" in done.output
    assert "target order" in done.output
    assert "18 events before 2024-06-01 18:00:00 UTC" in done.output
    assert faults(run, folder) == []


def test_events_alone_are_enough(run, tmp_path):
    events = small_tables()["events.parquet"]
    required = {k: events[k] for k in ("user_id", "item_id", "event_type", "timestamp")}
    assert faults(run, write_tables(tmp_path / "d", {"events.parquet": required})) == []


def spoilt(file: str, column: str, *, row: int | None = 3, to: object) -> dict:
    """The small tables with one value, or with `row=None` a whole column, replaced."""
    tables = small_tables()
    if row is None:
        tables[file][column] = to
    else:
        tables[file][column][row] = to
    return tables


E, U, I, V, P = (  # noqa: E741
    f"{name}.parquet" for name in ("events", "users", "items", "venues", "venue_items")
)


@pytest.mark.parametrize(
    ("tables", "file", "column", "count", "problem", "example", "remedy"),
    [
        (spoilt(E, "user_id", to=None), E, "user_id", 1, "every row", "(row 3)", "drop the rows"),
        (spoilt(E, "user_id", to=""), E, "user_id", 1, "1 to 256 characters", "''", "id"),
        (
            spoilt(E, "event_type", to="clik"),
            *(E, "event_type", 1, "one of impression, click", "'clik' (row 3)", "map your event"),
        ),
        (
            spoilt(E, "event_type", row=None, to=["impression"] * 20),
            *(E, "event_type", 20, "at least one action", "", "click"),
        ),
        (
            spoilt(E, "timestamp", row=None, to=NAIVE),
            *(E, "timestamp", 20, "found timestamp[us]", "2024-06-01", "which time zone"),
        ),
        (
            spoilt(E, "timestamp", row=None, to=SECONDS),
            *(E, "timestamp", 20, "found int64", "17172", "unit='s'"),
        ),
        (
            spoilt(E, "timestamp", row=None, to=["2024-06-01"] * 20),
            *(E, "timestamp", 20, "found string", "2024-06-01", "utc=True"),
        ),
        (
            spoilt(E, "timestamp", to=datetime(1970, 1, 20, tzinfo=UTC)),
            *(E, "timestamp", 1, "1990 to 2100", "1970", "look at the unit"),
        ),
        (spoilt(E, "timestamp", to=None), E, "timestamp", 1, "time in every row", "row 3", "split"),
        (
            spoilt(E, "timestamp", row=None, to=[START] * 20),
            *(E, "timestamp", 20, "different times", "2024", "own time"),
        ),
        (spoilt(E, "event_id", to="e1"), E, "event_id", 2, "each once", "'e1' stands 2", "drop"),
        (spoilt(E, "quantity", to=-1.0), E, "quantity", 1, "at least 0", "-1.0 (row 3)", "returns"),
        (spoilt(E, "value", to=-0.01), E, "value", 1, "at least 0", "-0.01", "corrections"),
        (spoilt(E, "value", to=float("inf")), E, "value", 1, "finite", "inf", "set them to 0"),
        (spoilt(E, "propensity", to=0.0), E, "propensity", 1, "above 0", "0.0", "log the"),
        (spoilt(E, "propensity", to=1.2), E, "propensity", 1, "at most 1", "1.2", "log the"),
        (spoilt(E, "currency", to="euro"), E, "currency", 1, "ISO 4217", "'euro'", "capital"),
        (spoilt(E, "currency", to="USD"), E, "currency", 20, "found EUR, USD", "", "convert"),
        (
            spoilt(E, "user_id", row=None, to=list(range(20))),
            *(E, "user_id", 20, "expected text, found int64", "0", "astype(str)"),
        ),
        (
            spoilt(E, "quantity", row=None, to=["1"] * 20),
            *(E, "quantity", 20, "expected a number, found string", "'1'", "to_numeric"),
        ),
        (
            spoilt(E, "split", row=None, to=["train"] * 19 + ["dev"]),
            *(E, "split", 1, "one of train, valid, test", "'dev' (row 19)", "name every row"),
        ),
        (
            spoilt(E, "split", row=None, to=["train"] * 20),
            *(E, "split", 0, "no row is 'test'", "", "mark some rows"),
        ),
        (
            spoilt(E, "split", row=None, to=["test"] * 20),
            *(E, "split", 0, "no row is 'train'", "", "mark some rows"),
        ),
        (spoilt(U, "user_id", to="u0"), U, "user_id", 2, "each once", "'u0'", "drop_duplicates"),
        (spoilt(I, "item_id", to="i0"), I, "item_id", 2, "each once", "'i0'", "drop_duplicates"),
        (spoilt(I, "price", to=-1.0), I, "price", 1, "at least 0", "-1.0", "set them to 0"),
        (spoilt(V, "venue_id", row=1, to="a/b"), V, "venue_id", 1, "only", "'a/b'", "URLs"),
        (spoilt(V, "venue_id", row=1, to="all"), V, "venue_id", 1, "another id", "'all'", "rename"),
        (
            spoilt(V, "ends_at", row=0, to=START),
            *(V, "ends_at", 1, "an end after starts_at", "(row 0)", "swap"),
        ),
        (spoilt(P, "venue_id", row=1, to="99"), P, "venue_id", 1, "a venue of", "'99' (row 1)", ""),
        (
            spoilt(P, "item_id", row=1, to="i0"),
            *(P, "venue_id, item_id", 2, "each once", "'618', 'i0' stands 2 times", "drop"),
        ),
    ],
)
def test_each_fault_names_its_place_and_remedy(
    run, tmp_path, tables, file, column, count, problem, example, remedy
):
    found = [
        fault
        for fault in faults(run, write_tables(tmp_path / "d", tables))
        if (fault["file"], fault["column"], fault["count"]) == (file, column, count)
        and problem in fault["problem"]
    ]
    assert len(found) == 1
    assert example in found[0]["example"]
    assert remedy in found[0]["remedy"]


def test_all_faults_of_a_folder_are_told_together(run, tmp_path):
    tables = spoilt(E, "event_type", to="clik")
    tables[E]["quantity"][5] = -2.0
    tables[E]["userid"] = tables[E].pop("user_id")
    tables[U]["user_id"][1] = "u0"
    tables[P]["venue_id"][0] = "lost"
    del tables[I]
    folder = write_tables(
        tmp_path / "d",
        tables,
        "targt: order\ntime_zone: Asia/Shangai\nusers: {categorical: [town]}\n",
    )
    (folder / "item.parquet").write_bytes((folder / U).read_bytes())
    (folder / V).write_bytes(b"id,name\n")

    done = run("data", "check", folder)
    assert done.exit_code == 2
    for words in (
        "9 faults",
        "events.parquet: user_id: this column is required and missing",
        "rename 'userid' to it",
        "events.parquet: event_type (1 row): expected one of",
        "events.parquet: quantity (1 row)",
        "users.parquet: user_id (2 rows): expected each once",
        "item.parquet: is not read, and items.parquet is missing",
        "did you mean 'items.parquet'?",
        "venues.parquet: cannot be read as Parquet",
        "venue_items.parquet: venue_id",
        "targt='order': unknown key",
        "did you mean 'target'?",
        "time_zone='Asia/Shangai': expected an IANA time zone",
        "correct line 2 of dataset.yaml",
    ):
        assert words in done.output
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("declaration", "key", "problem", "remedy"),
    [
        ("target: share\n", "target", "no event is of this type", "choose one of cart, click"),
        ("users: {categorical: [citty]}\n", "users.categorical", "no column 'citty'", "'city'?"),
        ("users: {numeric: [city]}\n", "users.numeric", "it holds string", "users.categorical"),
        ("users: {multi: [city]}\n", "users.multi", "it holds string", "users.categorical"),
        ("users: {categorical: [hobbies]}\n", "users.categorical", "it holds list", "users.multi"),
        ("items: {affinity: [brand]}\n", "items.affinity", "no column 'brand'", "drop it"),
        (
            "split: {train_end: 2030-01-01T00:00:00Z}\n",
            *("split.train_end", "within the events", "leave split out"),
        ),
        (
            "split: {train_end: 2024-06-01T05:00:00Z, test_end: 2024-06-01T04:00:00Z}\n",
            *("split.test_end", "after train_end", "swap"),
        ),
        ("split: {by: column}\n", "split.by", "no column 'split'", "add it"),
    ],
)
def test_a_declaration_must_fit_the_tables(run, tmp_path, declaration, key, problem, remedy):
    (fault,) = faults(run, write_tables(tmp_path / "d", small_tables(), declaration))
    assert (fault["file"], fault["column"]) == ("dataset.yaml", key)
    assert problem in fault["problem"]
    assert remedy in fault["remedy"]


def test_an_affinity_column_is_not_called_like_a_kind_of_families(run, tmp_path):
    folder = write_tables(tmp_path / "d", small_tables(), "items: {affinity: [alike]}\n")
    done = run("data", "check", folder)
    assert done.exit_code == 2
    assert "items.affinity" in done.output
    assert "expected another name than alike" in done.output


def test_a_folder_without_events(run, tmp_path):
    (tmp_path / "events.csv").write_text("user_id\n")
    told = faults(run, tmp_path)
    assert [fault["problem"] for fault in told] == [
        "missing",
    ]
    done = run("data", "check", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "no such folder" in done.output


def test_empty_events(run, tmp_path):
    tables = {E: {name: pa.array(column)[:0] for name, column in small_tables()[E].items()}}
    (fault,) = faults(run, write_tables(tmp_path / "d", tables))
    assert (fault["file"], fault["problem"]) == (E, "holds no rows")


def test_every_spelling_of_text_and_time_is_read(run, tmp_path):
    tables = small_tables()
    events = tables[E]
    events["user_id"] = pa.array(events["user_id"]).dictionary_encode()
    events["item_id"] = pa.array(events["item_id"], pa.large_string())
    events["timestamp"] = pa.array(events["timestamp"], pa.timestamp("ns", tz="Asia/Shanghai"))
    events["quantity"] = pa.array([1] * 20, pa.int32())
    events["value"] = pa.nulls(20)
    assert faults(run, write_tables(tmp_path / "d", tables)) == []


ARRAYS = st.sampled_from(
    [
        pa.array(["a", "b", None]),
        pa.array(["a", "a", "b"]).dictionary_encode(),
        pa.array(["click", "order", "cart"], pa.string_view()),
        pa.array([1, 2, None], pa.int16()),
        pa.array([2**63, 0, 1], pa.uint64()),
        pa.array([0.5, float("nan"), -1.0], pa.float32()),
        pa.array([1, 2, 3], pa.decimal128(9, 2)),
        pa.array([True, None, False]),
        pa.nulls(3),
        pa.array([START, START.replace(day=2), None], pa.timestamp("ns", tz="UTC")),
        pa.array([START, START.replace(day=2), START.replace(day=3)], pa.timestamp("s", tz="UTC")),
        pa.array([0, 1, 2], pa.timestamp("ms")),
        pa.array([0, 1, 2], pa.date32()),
        pa.array([0, 1, 2], pa.duration("s")),
        pa.array([b"a", b"b", None]),
        pa.array([["a"], [], None]),
        pa.array([[1], [2, None], None], pa.large_list(pa.int64())),
        pa.array([{"a": 1}, {"a": 2}, None]),
    ]
)


@st.composite
def folders(draw) -> dict[str, pa.Table]:
    files = draw(st.sets(st.sampled_from(sorted(CONTRACT)), min_size=1))
    return {
        file: pa.table(
            draw(
                st.dictionaries(
                    st.sampled_from([*CONTRACT[file], "extra", "tag"]), ARRAYS, min_size=1
                )
            )
        )
        for file in sorted(files)
    }


def test_faults_of_columns_of_different_types_are_told_together(tmp_path):
    pool = {
        "venue_id": ["a", "b", None],
        "item_id": ["a", "b", None],
        "venue_price": pa.array([0.5, float("nan"), -1.0], pa.float32()),
    }
    pq.write_table(pa.table(pool), tmp_path / "venue_items.parquet")
    faults = check(read_folder(tmp_path), "any").faults
    told = {fault.column for fault in faults if fault.file == "venue_items.parquet"}
    assert {"venue_id", "item_id", "venue_price"} <= told


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(folders())
def test_whatever_the_files_hold_is_either_refused_with_faults_or_sound(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("any")
    for file, table in tables.items():
        pq.write_table(table, folder / file)
    verdict = check(read_folder(folder), "any")
    assert bool(verdict.faults) != (verdict.sound is not None)
    for fault in verdict.faults:
        assert fault.problem
        assert fault.remedy


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["tag", "extra", "title", "created_at"]), ARRAYS))
def test_any_column_of_a_users_or_items_file_has_a_reading(tmp_path_factory, extra):
    folder = write_tables(tmp_path_factory.mktemp("any"), small_tables())
    for file, key in ((U, "user_id"), (I, "item_id")):
        tags = {n: a for n, a in extra.items() if file == U or n in {"tag", "extra"}}
        pq.write_table(pa.table({key: ["u0", "u1", "u2"], **tags}), folder / file)
    verdict = check(read_folder(folder), "any")
    assert verdict.faults == ()
    spec = verdict.sound.spec
    read = {*spec.items.tags, *spec.items.ignored}
    assert read == set(extra) & {"tag", "extra"}

"""A file of events goes into the log: each row judged, each event once, whatever interrupts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from qianmian.errors import DataError, EventStoreError
from qianmian.events.accepting import Acceptance, AcceptanceSettings
from qianmian.events.bulk import BulkImport, ImportReport, history_settings
from qianmian.events.event import StoredEvent
from qianmian.events.sqlite_store import SqliteEventStore
from qianmian.events.store import BEGINNING
from tests.events.made import NOW

ACCEPTANCE = Acceptance(
    history_settings(AcceptanceSettings()),
    known_item=lambda item_id: item_id.startswith("i"),
    known_venue=lambda venue_id: venue_id == "18",
    currency="EUR",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteEventStore]:
    opened = SqliteEventStore(tmp_path / "events.db")
    yield opened
    opened.close()


def run(path: Path, store: Any, **options: Any) -> ImportReport:
    told = options.pop("tell", lambda done, total: None)
    return bulk(path).run(ACCEPTANCE, store, now=NOW, tell=told, **options)


def bulk(path: Path) -> BulkImport:
    return BulkImport(path, folder=path.parent / "imports")


def stored(store: SqliteEventStore) -> list[StoredEvent]:
    return store.read(BEGINNING, 100_000)[0]


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": [f"u{n % 7}" for n in range(rows)],
            "item_id": [f"i{n % 11}" for n in range(rows)],
            "event_type": ["click", "order"] * (rows // 2),
            "timestamp": pd.to_datetime(NOW - 9e6 + pd.RangeIndex(rows), unit="s", utc=True),
            "position": [None, 3.0] * (rows // 2),
            "value": [None, 2.5] * (rows // 2),
        }
    )


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bulk(path).rejects.read_text().splitlines()]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_every_kind_of_file_gives_the_same_events(
    tmp_path: Path, store: SqliteEventStore, ending: str
) -> None:
    path = tmp_path / f"events.{ending}"
    rows = frame(20)
    rows["event_id"] = [f"e{n}" for n in range(20)]
    if ending == "parquet":
        rows.to_parquet(path)
    elif ending == "csv":
        rows.to_csv(path, index=False)
    else:
        rows["timestamp"] = rows["timestamp"].map(lambda moment: moment.isoformat())
        rows.to_json(path, orient="records", lines=True)
    assert run(path, store).accepted == 20
    events = stored(store)
    assert [one.event_id for one in events] == [f"e{n}" for n in range(20)]
    assert (events[1].event_type, events[1].subject_id, events[1].item_id) == ("order", "u1", "i1")
    assert (events[1].timestamp, events[1].received_at) == (NOW - 9e6 + 1, NOW)
    assert (events[1].position, events[1].value, events[0].position) == (3, 2.5, None)


def test_the_same_file_again_changes_nothing(tmp_path: Path, store: SqliteEventStore) -> None:
    path = tmp_path / "events.parquet"
    frame(50).to_parquet(path)
    first = run(path, store)
    assert (first.rows, first.accepted, first.finished) == (50, 50, True)
    assert run(path, store) == first
    again = path.rename(tmp_path / "another.parquet")
    for note in (tmp_path / "imports").iterdir():
        note.unlink()
    assert run(again, store).duplicates == 50
    assert len(stored(store)) == 50


class Dying:
    """A store that dies before or after it has written."""

    def __init__(self, store: SqliteEventStore, after: int, *, written: bool) -> None:
        self._store, self._left, self._written = store, after, written

    def append(self, events: list[StoredEvent]) -> list[bool]:
        self._left -= 1
        if self._left >= 0:
            return self._store.append(events)
        if self._written:
            self._store.append(events)
        raise EventStoreError("killed")


@pytest.mark.parametrize("written", [True, False])
def test_a_killed_import_goes_on_where_it_was(
    tmp_path: Path, store: SqliteEventStore, *, written: bool
) -> None:
    path = tmp_path / "events.parquet"
    rows = frame(100)
    rows.loc[[5, 35, 77], "event_type"] = "clik"
    rows.to_parquet(path)
    with pytest.raises(EventStoreError, match="killed"):
        run(path, Dying(store, 3, written=written), batch=10)
    assert bulk(path).before().rows == 30
    starts: list[int] = []
    report = run(path, store, batch=10, tell=lambda done, total: starts.append(done))
    assert starts[0] == 30
    assert (report.rows, report.rejected) == (100, {"invalid": 3})
    assert report.accepted + report.duplicates == 97
    assert report.duplicates == (9 if written else 0)
    assert len(stored(store)) == len({one.event_id for one in stored(store)}) == 97
    assert [one["row"] for one in rejected(path)] == [5, 35, 77]


def test_each_row_is_judged_and_the_reason_written_down(
    tmp_path: Path, store: SqliteEventStore
) -> None:
    path = tmp_path / "events.jsonl"
    good = {"event_type": "click", "timestamp": "2017-12-01T00:00:00Z", "item_id": "i1"}
    good["user_id"] = "u1"
    lines = [
        json.dumps({**good, "timestamp": "2001-01-01T00:00:00Z"}),
        "{broken",
        json.dumps({**good, "timestamp": "2018-12-01T00:00:00Z"}),
        json.dumps({**good, "propensity": 0}),
        json.dumps({**good, "item_id": "new", "propensity": 0.5, "recommendation_id": "r"}),
        json.dumps({**good, "venue_id": "19"}),
        json.dumps({**good, "item": "i1"}),
        "[]",
        "",
        json.dumps({**good, "split": "train"}),
        json.dumps({**good, "value": 5000, "currency": "JPY"}),
        json.dumps({**good, "value": 31, "currency": "EUR"}),
    ]
    path.write_text("\n".join(lines))
    report = run(path, store)
    assert (report.rows, report.accepted) == (11, 5)
    assert report.rejected == {"invalid": 5, "in_the_future": 1}
    assert report.quarantined == {"unknown_item": 1, "unknown_venue": 1}
    told = {one["row"]: one["error"] for one in rejected(path)}
    assert set(told) == {1, 2, 3, 6, 7, 9}
    assert "expected a JSON object on each line" in told[1]
    assert told[3] == "propensity=0: expected greater than 0"
    assert told[9] == "currency='JPY': expected 'EUR', the data set's; convert the amounts"
    assert told[6].startswith("item='i1': unknown key")
    assert (stored(store)[1].propensity, stored(store)[1].recommendation_id) == (0.5, "r")


def test_text_that_is_no_number_costs_only_its_row(tmp_path: Path, store: SqliteEventStore) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "user_id,item_id,event_type,timestamp,value\n"
        "1,i1,click,2017-12-01T00:00:00Z,2.5\n"
        "2,i1,click,2017-12-01T00:00:00Z,much\n"
        "3,i1,click,2017-12-01 00:00:00,1\n"
    )
    assert run(path, store).accepted == 1
    assert stored(store)[0].user_id == "1"
    told = {one["row"]: one["error"] for one in rejected(path)}
    assert "value='much'" in told[1]
    assert "timezone" in told[2]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("events.parquet", b"no parquet", "cannot be read"),
        ("events.txt", b"", "expected a name that ends with .parquet"),
        ("events.csv", b"user_id,item,event_type,timestamp\n", "lacks the column 'item_id'"),
        ("events.csv", b"user_id,item,event_type,timestamp\n", "did you mean 'item_id'"),
        ("events.csv", b"item_id,event_type,timestamp\n", "lacks 'user_id' or 'visitor_id'"),
        ("events.csv", b"", "cannot be read"),
        (None, b"", "no such file"),
    ],
)
def test_a_file_that_holds_no_events_is_refused(
    tmp_path: Path, name: str | None, content: bytes, said: str
) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        bulk(tmp_path / (name or "events.csv"))
    assert said in str(caught.value)

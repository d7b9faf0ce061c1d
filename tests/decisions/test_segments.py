from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts import decisions as d
from qianmian.decisions.frames import Facts, frame
from qianmian.decisions.schema import SCHEMA
from qianmian.decisions.segments import (
    OPEN,
    SEAL_FILE,
    SEALED,
    expire,
    newest,
    read,
    seal_left,
    segments,
    turn,
)
from qianmian.decisions.writer import SegmentWriter

AT = datetime(2017, 12, 5, tzinfo=UTC).timestamp()


def a_frame(name: str, at: float = AT, subject: str | None = "anna") -> bytes:
    item = {"item_id": "i1", "position": 1, "score": 0.5, "source": "repeat"}
    answer = {
        "recommendation_id": name,
        "venue": {"id": "sale", "phase": "peak"},
        "release": "r1",
        "experiments": [{"layer": "l", "experiment": "e", "arm": "a"}],
        "degraded": [],
        "racing": [{"race": "r", "order": ["b", "a"], "propensity": 0.25, "state_version": 7}],
        "blocks": [
            {
                "block_id": "main",
                "items": [
                    {**item, "slot": "organic", "propensity": 1.0},
                    {**item, "slot": "sponsored", "propensity": 0.5, "campaign_id": "bread"},
                ],
            },
            {"block_id": "empty", "items": []},
        ],
    }
    return frame(Facts(at, subject, None, 9, ()), b"", json.dumps(answer).encode())


def a_writer(folder: Path, replica: str = "1-a") -> SegmentWriter:
    return SegmentWriter(
        folder, replica=replica, max_bytes=10**6, max_seconds=60, fsync=True, clock=lambda: AT
    )


def test_a_row_tells_what_led_the_races_and_whose_the_places_were(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    writer.append([a_frame("one")])
    writer.close()
    row = newest(tmp_path, 2)[0]
    assert row[d.CAMPAIGN_IDS] == [None, "bread"]
    assert row[d.RACES] == [{"race": "r", "first": "b", "propensity": 0.25, "state_version": 7}]


def names(folder: Path) -> list[object]:
    return [row[d.RECOMMENDATION_ID] for row in newest(folder, 99) if row[d.BLOCK_ID] == "main"]


def test_a_segment_in_use_is_left_alone_and_sealed_once_let_go(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    writer.append([a_frame("one"), a_frame("two")])
    assert seal_left(tmp_path) == []
    assert names(tmp_path) == ["one", "two"]
    writer.close()
    (sealed,) = seal_left(tmp_path)
    assert list(tmp_path.glob(f"*{OPEN}")) == []
    assert pq.read_table(sealed).schema.equals(SCHEMA)
    assert names(tmp_path) == ["one", "two"]


def test_a_segment_sealed_by_someone_who_died_before_removing_it_is_read_once(
    tmp_path: Path,
) -> None:
    writer = a_writer(tmp_path)
    writer.append([a_frame("one")])
    writer.close()
    (left,) = tmp_path.glob(f"*{OPEN}")
    kept = left.read_bytes()
    seal_left(tmp_path)
    left.write_bytes(kept)
    assert names(tmp_path) == ["one"]
    assert seal_left(tmp_path) == []
    assert [path.suffix for path in segments(tmp_path)] == [SEALED]
    assert not left.exists()


@given(cut=st.integers(min_value=0, max_value=len(a_frame("third"))))
def test_what_a_crash_tore_off_does_not_hide_what_stood_before(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    whole = a_frame("first") + a_frame("second")
    (folder / f"x{OPEN}").write_bytes(whole + a_frame("third")[:cut])
    rest = ["third"] if cut == len(a_frame("third")) else []
    assert names(folder) == ["first", "second", *rest]
    seal_left(folder)
    assert names(folder) == ["first", "second", *rest]


def test_zeros_that_a_crash_of_the_machine_left_are_no_decisions(tmp_path: Path) -> None:
    (tmp_path / f"x{OPEN}").write_bytes(a_frame("first") + bytes(4096))
    assert names(tmp_path) == ["first"]
    assert len(seal_left(tmp_path)) == 1
    assert names(tmp_path) == ["first"]


def test_a_segment_is_due_when_it_is_asked_for(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    assert not writer.due()
    writer.append([a_frame("one")])
    assert not writer.due()
    (tmp_path / SEAL_FILE).touch()
    os.utime(tmp_path / SEAL_FILE, (AT - 1, AT - 1))
    assert not writer.due()
    os.utime(tmp_path / SEAL_FILE, (AT + 1, AT + 1))
    assert writer.due()
    writer.close()


def test_reading_keeps_to_the_period(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    writer.append([a_frame(f"r{n}", AT + n) for n in range(5)])
    writer.close()
    moments = [datetime.fromtimestamp(AT + n, tz=UTC) for n in (1, 3)]
    (table,) = read(tmp_path, since=moments[0], until=moments[1])
    assert table[d.RECOMMENDATION_ID].to_pylist() == ["r1", "r1", "r2", "r2"]


def test_old_segments_go_first_by_age_and_then_by_room(tmp_path: Path) -> None:
    for number in range(4):
        writer = a_writer(tmp_path, f"{number}-a")
        writer.append([a_frame(f"r{number}")])
        writer.close()
    with turn(tmp_path):
        sealed = seal_left(tmp_path)
    for number, path in enumerate(sealed):
        os.utime(path, (AT + number, AT + number))
    size = sealed[0].stat().st_size
    now = AT + 100.0
    assert expire(tmp_path, now=now, keep_seconds=99.5, keep_bytes=10**9) == sealed[:1]
    removed = expire(tmp_path, now=now, keep_seconds=10**6, keep_bytes=2 * size + 10)
    assert removed == sealed[1:2]
    assert segments(tmp_path) == sealed[2:]
    assert expire(tmp_path, now=now, keep_seconds=10**6, keep_bytes=10**9) == []

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.workspace import Workspace
from tests.decisions.test_segments import AT, a_frame, a_writer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    writer = a_writer(Workspace(tmp_path, "shop").decisions)
    writer.append([a_frame(f"r{n}", AT + 3600 * n) for n in range(3)])
    writer.close()
    return tmp_path


def run(home: Path, *args: str) -> str:
    result = CliRunner().invoke(app, ["--home", str(home), "--dataset", "shop", *args])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_tail_prints_the_newest_decisions_as_json_lines(home: Path) -> None:
    lines = [json.loads(line) for line in run(home, "decisions", "tail", "-n", "4").splitlines()]
    assert [line["recommendation_id"] for line in lines] == ["r1", "r1", "r2", "r2"]
    assert lines[0]["decided_at"] == "2017-12-05T01:00:00+00:00"


def test_export_writes_one_parquet_file_of_the_period(home: Path, tmp_path: Path) -> None:
    to = tmp_path / "out" / "decisions.parquet"
    told = run(home, "decisions", "export", str(to), "--since", "2017-12-05T01:00:00Z")
    assert "4 rows" in told
    table = pq.read_table(to)
    assert table["recommendation_id"].to_pylist() == ["r1", "r1", "r2", "r2"]
    assert table["arms"][0].as_py() == [{"layer": "l", "experiment": "e", "arm": "a"}]


def test_another_folder_is_read_when_it_is_named(home: Path, tmp_path: Path) -> None:
    moved = Workspace(home, "shop").decisions.rename(tmp_path / "elsewhere")
    said = run(home, "decisions", "tail", "-n", "1", "--folder", str(moved))
    assert json.loads(said)["recommendation_id"] == "r2"
    to = tmp_path / "all.parquet"
    assert "6 rows" in run(home, "decisions", "export", str(to), "--folder", str(moved))

"""A small sound data set to spoil in every way, and Complete Journey imported once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.data.store import Dataset
from qianmian.workspace import Workspace

START = datetime(2024, 6, 1, tzinfo=UTC)

Columns = dict[str, list[Any]]
Folder = Callable[..., Path]
Run = Callable[..., Any]


def small_tables() -> dict[str, Columns]:
    """Twenty events of four users on five items, in a shop with two venues."""
    count = 20
    return {
        "events.parquet": {
            "user_id": [f"u{n % 4}" for n in range(count)],
            "item_id": [f"i{n % 5}" for n in range(count)],
            "event_type": [("click", "cart", "order", "impression")[n % 4] for n in range(count)],
            "timestamp": [START + timedelta(hours=n) for n in range(count)],
            "event_id": [f"e{n}" for n in range(count)],
            "quantity": [1.0] * count,
            "value": [None if n % 4 != 2 else 9.5 for n in range(count)],
            "currency": ["EUR"] * count,
            "propensity": [0.5] * count,
        },
        "users.parquet": {
            "user_id": ["u0", "u1", "u2", "u3"],
            "city": ["Paris", "Lyon", None, "Paris"],
            "age": [30, 41, None, 22],
            "member": [True, False, None, True],
            "hobbies": [["tea"], [], None, ["go", "tea"]],
        },
        "items.parquet": {
            "item_id": [f"i{n}" for n in range(5)],
            "title": [f"Item {n}" for n in range(5)],
            "category": ["a", "a", "b", None, "b"],
            "price": [10.0, 12.0, None, 1.0, 2.0],
        },
        "venues.parquet": {
            "venue_id": ["618", "1111"],
            "name": ["Mid-year", None],
            "starts_at": [START, None],
            "ends_at": [START + timedelta(days=18), None],
        },
        "venue_items.parquet": {
            "venue_id": ["618", "618", "1111"],
            "item_id": ["i0", "i1", "i9"],
            "venue_price": [8.0, None, 3.0],
        },
    }


def write_tables(folder: Path, tables: dict[str, Columns], declaration: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, columns in tables.items():
        arrays = {
            name: values if isinstance(values, pa.Array) else pa.array(values)
            for name, values in columns.items()
        }
        pq.write_table(pa.table(arrays), folder / file)
    if declaration:
        (folder / "dataset.yaml").write_text(declaration, encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `qianmian` on a workspace root of this test alone."""

    def invoke(*arguments: str | Path) -> Any:
        home = ["--home", str(tmp_path / "home")]
        return CliRunner().invoke(app, [*home, *map(str, arguments)])

    return invoke


@pytest.fixture(scope="session")
def complete_journey(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("home")
    done = CliRunner().invoke(app, ["--home", str(root), "data", "import", "complete-journey"])
    assert done.exit_code == 0, done.output
    return Dataset.open(Workspace(root))

"""What an import that names somebody leaves beside the log goes, however it is written there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qianmian.erasure.people import People
from qianmian.erasure.stores import Stores
from qianmian.errors import EventStoreError
from qianmian.events.bulk import BulkImport
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.workspace import Workspace
from tests.events.made import NOW
from tests.events.test_bulk import ACCEPTANCE, Dying

GOOD = {"event_type": "click", "timestamp": "2017-12-01T00:00:00Z", "item_id": "i1"}
ROWS = [
    {**GOOD, "user_id": 1228},
    {**GOOD, "user_id": "visitor:o'brien"},
    {**GOOD, "user_id": 'visitor:anna\u2028"the\n1st"'},
    {**GOOD, "user_id": 12280},
    {**GOOD, "user_id": "u1"},
    {**GOOD, "user_id": "u1", "event_type": "clik"},
]


def erase(workspace: Workspace, *subjects: str) -> int:
    engine = open_engine(SqliteEngine(), workspace)
    stores = Stores(workspace, engine, online=lambda _: 0, mac=lambda one: one)
    (notes,) = (store for store in stores.all() if store.name == "import_notes")
    removed: list[int] = []
    notes.erase(People.of(subjects), removed.append)
    engine.close()
    return sum(removed)


def test_no_byte_of_an_id_is_left_in_the_notes_of_an_import(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home", "shop")
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    engine = open_engine(SqliteEngine(), workspace)
    bulk = BulkImport(path, folder=workspace.events / "imports")
    with pytest.raises(EventStoreError):
        bulk.run(
            ACCEPTANCE,
            Dying(engine.events, 5, written=False),
            now=NOW,
            tell=lambda done, total: None,
            batch=1,
        )
    noted = bulk.rejects.read_text()
    assert 'quote it: \\"1228\\"' in noted
    assert 'user_id=\\"visitor:o\'brien\\"' in noted
    assert len(noted.split("\n")) == 4 + 1
    assert erase(workspace, "1228") == 1
    assert erase(workspace, "visitor:o'brien", 'visitor:anna\u2028"the\n1st"') == 2
    assert erase(workspace, "122", "brie") == 0
    left = bulk.rejects.read_text()
    assert "=1228:" not in left
    assert "brien" not in left
    assert "anna" not in left
    report = bulk.run(ACCEPTANCE, engine.events, now=NOW, tell=lambda done, total: None, batch=1)
    engine.close()
    assert report.rejected == {"invalid": 5}
    lines = [json.loads(line) for line in bulk.rejects.read_text().splitlines()]
    assert [line["row"] for line in lines] == [3, 5]


def test_a_line_that_a_killed_import_left_torn_goes_too(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "shop")
    note = workspace.events / "imports" / "x.rejected.jsonl"
    note.parent.mkdir(parents=True)
    whole = '{"row": 1, "event_id": null, "error": "user_id=7: expected a valid string"}\n'
    note.write_text(whole + '{"row": 2, "event_id": null, "error": "user_id=12')
    assert erase(workspace, "1228") == 1
    assert note.read_text() == whole

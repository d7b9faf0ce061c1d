"""`qianmian events` and `qianmian keys` as an operator meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.data.importing import import_source
from qianmian.data.source import find_source
from qianmian.events.bulk import BulkImport
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.events.event import StoredEvent
from qianmian.events.sqlite_store import SqliteEventStore
from qianmian.workspace import Workspace
from tests.events.made import event
from tests.small_shop import START, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace(home, "small-shop")
    import_source(
        find_source(str(write_shop(home / "source")), "small-shop"), workspace, lambda _: None
    )
    return workspace


@pytest.fixture
def run(shop: Workspace, tmp_path: Path):
    """Runs a command on a log of its own."""
    serve = tmp_path / "serve.yaml"
    serve.write_text(
        f"""\
http_options: {{port: 8000}}
applications:
  - args: {{engine: {{kind: sqlite, folder: {tmp_path / "log"}}}}}
    deployments: [{{}}]
"""
    )

    def invoke(group: str, command: str, *arguments: str):
        given = ["--home", str(shop.root), "--dataset", shop.dataset, group, command, *arguments]
        return CliRunner().invoke(app, [*given, "--config", str(serve)])

    return invoke


@pytest.fixture
def log(tmp_path: Path, shop: Workspace):
    with open_engine(SqliteEngine(folder=tmp_path / "log"), shop) as engine:
        yield engine.events


def test_who_asks_to_be_forgotten_during_an_import_stays_out(
    run, log, tmp_path: Path, shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.csv"
    rows = [("u001", n) if n % 2 else ("u002", n) for n in range(40)]
    pd.DataFrame(
        {
            "user_id": [user for user, _ in rows],
            "item_id": ["i001"] * len(rows),
            "event_type": ["click"] * len(rows),
            "timestamp": [START.isoformat()] * len(rows),
        }
    ).to_csv(file, index=False)
    monkeypatch.setattr(
        BulkImport.run, "__kwdefaults__", {**BulkImport.run.__kwdefaults__, "batch": 10}
    )
    append = SqliteEventStore.append

    def append_and_forget(store: SqliteEventStore, events: list[StoredEvent]) -> list[bool]:
        new = append(store, events)
        run("users", "forget", "u001", "--no-wait")
        return new

    monkeypatch.setattr(SqliteEventStore, "append", append_and_forget)
    done = run("events", "import", str(file))
    assert done.exit_code == 0, done.output
    assert "rejected, forgotten: 15" in done.stdout
    assert len(log.of_subjects(["u001"])) == 5


def test_import_tells_what_became_of_each_row(run, log, tmp_path: Path, shop: Workspace) -> None:
    file = tmp_path / "events.csv"
    pd.DataFrame(
        {
            "user_id": ["u001", "u002", "u003"],
            "item_id": ["i001", "new", "i001"],
            "event_type": ["click", "cart", "clik"],
            "timestamp": [START.isoformat()] * 3,
        }
    ).to_csv(file, index=False)
    done = run("events", "import", str(file))
    assert done.exit_code == 0, done.output
    assert "3 rows: 2 accepted, 0 known before, 1 rejected" in done.stdout
    assert "quarantined, unknown_item: 1" in done.stdout
    assert "row 2: event_type='clik': expected" in done.stdout
    assert [one.item_id for one in log.newest(9)[0]] == ["i001", "new"]
    again = run("events", "import", str(file), "--json")
    assert json.loads(again.stdout)["accepted"] == 2
    assert "going on after row 3" in again.stderr
    assert log.size() == 2


def test_the_clock_of_the_service_says_what_is_in_the_future(run, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,event_type,timestamp\nu001,i001,click,2024-03-01T00:00:00Z\n")
    done = run("events", "import", str(file), "--clock", "2024-02-01T00:00:00Z", "--json")
    assert json.loads(done.stdout)["rejected"] == {"in_the_future": 1}


def test_a_wrong_file_is_one_line(run) -> None:
    done = run("events", "import", "nowhere.csv")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: nowhere.csv: no such file")


def test_tail_and_status(run, log) -> None:
    assert "events      0" in run("events", "status").stdout
    log.append([event(n, venue_id="18", position=n) for n in range(1, 5)])
    log.commit("stream", log.read("", 3)[1])
    lines = run("events", "tail", "-n", "2").stdout.splitlines()
    assert [line.split()[-2] for line in lines] == ["18/-/3", "18/-/4"]
    assert run("events", "tail", "-n", "0").stdout == ""
    as_json = run("events", "tail", "-n", "1", "--json").stdout
    assert json.loads(as_json)["event_id"] == "e4"
    assert "lag         stream: 1" in run("events", "status").stdout
    facts = json.loads(run("events", "status", "--json").stdout)
    assert (facts["engine"], facts["events"], facts["lag"]) == ("sqlite", 4, {"stream": 1})


def test_keys_rotate_and_retire(run) -> None:
    (first,) = json.loads(run("keys", "list", "--json").stdout)
    assert first["state"] == "signs"
    assert "opens" in run("keys", "rotate").stdout
    assert run("keys", "retire", first["id"]).exit_code == 0
    states = [row["state"] for row in json.loads(run("keys", "list", "--json").stdout)]
    assert states == ["retired", "signs"]
    refused = run("keys", "retire", "ffffffff")
    assert refused.exit_code == 2
    assert "unknown key 'ffffffff'" in refused.stderr


def test_flags_are_counted_and_listed(run, shop: Workspace) -> None:
    from qianmian.trust.flags import Flag
    from qianmian.trust.monitor import Verdict
    from qianmian.trust.store import FLAGS_FILE, FlagStore
    from qianmian.trust.traffic import Seen

    order = Seen.of(event(1, event_type="order"))
    flags = FlagStore(shop.events / FLAGS_FILE)
    flags.settle(Verdict((order,), (Flag(order.event_id, "unseen_order"),)))
    done = run("events", "flags")
    assert done.exit_code == 0, done.output
    assert "1 events are not trusted" in done.output
    assert "unseen_order: 1" in done.output
    listed = json.loads(run("events", "flags", "--json", "--reason", "burst").output)
    assert (listed["reasons"], listed["flags"]) == ({"unseen_order": 1}, [])
    wrong = run("events", "flags", "--reason", "bursts")
    assert wrong.exit_code == 2
    assert "did you mean 'burst'?" in wrong.output + wrong.stderr

"""Somebody with data in every store is forgotten; then every byte of every store is searched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from qianmian.campaigns.frequency import Showing
from qianmian.campaigns.purse import open_purse
from qianmian.contracts import columns as c
from qianmian.contracts import topics
from qianmian.data.archive import Archive
from qianmian.data.archive_writer import writing
from qianmian.data.store import Dataset
from qianmian.erasure.job import Erasures
from qianmian.erasure.opening import open_erasures
from qianmian.errors import EventStoreError, ForgottenError
from qianmian.events.bought import Purchase
from qianmian.events.engine import Engine, EngineSettings, RedisEngine, SqliteEngine, open_engine
from qianmian.events.rows import contract_rows
from qianmian.features import snapshots
from qianmian.features.store import FeatureRepo
from qianmian.identity.gate import Gate, PrivacySettings
from qianmian.identity.merging import Merger
from qianmian.stream.assembly import assemble
from qianmian.stream.process import alone
from qianmian.stream.settings import StreamSettings
from qianmian.workspace import TRIALS_FILE, Workspace
from tests.decisions.test_segments import a_frame, a_writer
from tests.features.conftest import DECLARATION, TRAIN_END, import_shop, shop_tables
from tests.features.small import event, frame
from tests.redis_server import RedisServer, needs_redis
from tests.stream.conftest import NOW, sent

MARK = "marker-4711"
USER = f"{MARK}-user"
DEVICE = f"{MARK}-device"
embedded = pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
PRIVACY = PrivacySettings(settle_seconds=0.0)


@pytest.fixture(scope="session")
def marked_shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    tables = shop_tables()
    events = [event(USER, f"i{n:02d}", 10.0 + n, order_id=f"m{n}") for n in range(12)]
    tables[c.EVENTS_FILE] = pd.concat([tables[c.EVENTS_FILE], frame(*events)])
    users = tables[c.USERS_FILE]
    tables[c.USERS_FILE] = pd.concat([users, pd.DataFrame({c.USER_ID: [USER], "city": ["Lyon"]})])
    workspace = import_shop(tmp_path_factory.mktemp("marked"), tables, DECLARATION)
    snapshots.build(workspace, Dataset.open(workspace), [TRAIN_END])
    FeatureRepo.open(workspace).materialize(TRAIN_END)
    return workspace


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="qm") as folder:
        server = RedisServer(Path(folder))
        yield server
        server.kill()


@dataclass
class Shop:
    workspace: Workspace
    engine: Engine
    engine_settings: EngineSettings
    further_files: Path | None = None

    def gate(self) -> Gate:
        return Gate.open(PRIVACY, self.workspace, self.engine.changes)

    def erasures(self, gate: Gate | None = None, online: Callable | None = None) -> Erasures:
        repo = FeatureRepo.open(self.workspace)
        return open_erasures(
            self.workspace,
            self.engine,
            gate or self.gate(),
            privacy=PRIVACY,
            engine_settings=self.engine_settings,
            online=online or repo.erase_users,
        )

    def places_of(self, mark: str) -> list[str]:
        """Files that hold the mark, as bytes or in a column."""
        folders = [self.workspace.root, *([self.further_files] if self.further_files else [])]
        files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
        return sorted(p.name for p in files if p.name != "log" and _holds(p, mark))


def _holds(path: Path, mark: str) -> bool:
    if mark.encode() in path.read_bytes():
        return True
    return path.suffix == ".parquet" and mark in str(pq.read_table(path).to_pydict())


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def shop(request: pytest.FixtureRequest, marked_shop: Workspace, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(marked_shop.root, tmp_path / "home")
    workspace = Workspace(tmp_path / "home", marked_shop.dataset)
    settings: EngineSettings = SqliteEngine()
    further = None
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        import redis

        settings, further = RedisEngine(kind="redis", url=server.url), server.folder
        redis.Redis.from_url(server.url).flushall()
    engine = open_engine(settings, workspace)
    shop = Shop(workspace, engine, settings, further)
    _fill(shop)
    yield shop
    engine.close()


def _fill(shop: Shop) -> None:
    device = f"visitor:{DEVICE}"
    shop.engine.events.append(
        [
            sent(1, USER, "i01", user_id=USER, visitor_id=DEVICE),
            sent(2, device, "i02", visitor_id=DEVICE),
            sent(3, "u1", "i03", user_id="u1", shared_by=USER),
            sent(4, "u2", "i04", user_id="u2", visitor_id=DEVICE),
            sent(5, "u3", "i05", user_id="u3"),
        ]
    )
    with writing(Archive(shop.workspace.archive)) as archive:
        archived = [
            sent(-3, USER, "i01", user_id=USER),
            sent(-2, "u1", "i02", user_id="u1", visitor_id=DEVICE, shared_by=USER),
            sent(-1, "u1", "i03", user_id="u1"),
        ]
        archive.append(contract_rows(archived), "", {device: USER})
    Merger(shop.engine.changes, grace_seconds=60, clock=lambda: NOW).merge(DEVICE, USER)
    shop.engine.changes.put(topics.USERS, {USER: b"1", "u1": b"1"})
    bought = [Purchase(one, "i01", NOW, NOW) for one in (USER, device, "u1")]
    shop.engine.changes.put(topics.BOUGHT, {one.key: one.value for one in bought})
    purse = open_purse(shop.engine_settings, shop.workspace)
    purse.showings.add([Showing(USER, "camp", NOW, "a"), Showing("u1", "camp", NOW, "b")])
    purse.shut()
    folder = shop.workspace.decisions
    for replica, subjects in (("1-a", [USER, "u1"]), ("2-b", [device, None, "u2"])):
        writer = a_writer(folder, replica)
        writer.append([a_frame(f"{replica}{n}", NOW, one) for n, one in enumerate(subjects)])
        writer.close()
    notes = shop.workspace.events / "imports"
    notes.mkdir(parents=True, exist_ok=True)
    (notes / "x.rejected.jsonl").write_text(
        f'{{"row": 1, "error": "user_id=\'{USER}\': expected"}}\n{{"row": 2, "error": "x"}}\n'
    )


def test_every_byte_of_somebody_goes_and_nothing_of_others(shop: Shop) -> None:
    assert len(shop.places_of(MARK)) > 8
    erasures = shop.erasures()
    receipt = erasures.request(USER)
    assert receipt.state == "accepted"
    assert erasures.run()
    done = erasures.receipts.get(receipt.receipt_id)
    erasures.receipts.close()
    assert shop.places_of(MARK) == []
    removed = {store.store: store.removed for store in done.stores}
    assert removed["event_log"] == 2 + 2
    assert removed["archive"] == 1 + 1
    assert removed["data_set"] == 12 + 1
    assert removed["decision_log"] == 2 * 2
    assert removed["online_features"] >= 5
    assert removed["feature_snapshots"] >= 5
    assert removed["showings"] + removed["tables"] == 1
    assert removed["import_notes"] == 1
    assert removed["merges"] == 1
    secret = PRIVACY.secret(shop.workspace)
    assert done.holds(secret)
    assert not done.model_copy(update={"requested_at": 0.0}).holds(secret)
    assert MARK not in done.model_dump_json()
    # what is of others is there
    events = shop.engine.events.of_subjects(["u1", "u2", "u3"])
    assert [(e.event_id, e.shared_by, e.visitor_id) for e in events] == [
        ("e3", None, None),
        ("e4", None, None),
        ("e5", None, None),
    ]
    repo = FeatureRepo.open(shop.workspace)
    assert repo.online_user("u1") is not None
    assert repo.online_user(USER) is None
    assert len(Dataset.open(shop.workspace).events()) > 800
    assert shop.engine.changes.get(topics.USERS).keys() == {"u1"}
    assert shop.engine.changes.get(topics.BOUGHT).keys() == {'["u1","i01"]'}
    archive = Archive(shop.workspace.archive)
    assert (archive.manifest().rows, archive.manifest().owners) == (2, {})
    assert set(Dataset.open(shop.workspace).events()[c.USER_ID]) >= {"u1", "u2"}


@embedded
def test_no_release_in_the_making_nor_a_broken_one_keeps_a_name(shop: Shop) -> None:
    releases = shop.workspace.releases
    for folder in ("20240101T000000-broken", ".staging-of-a-killed-run"):
        (releases / folder).mkdir(parents=True)
        (releases / folder / "encoder.json").write_text(f'{{"user_ids": ["{USER}", "u1"]}}')
    (releases / "20240101T000000-broken" / "manifest.json").write_text("{")
    torn = {"torn": f'{{"user_ids": ["u1", "{USER}', "other": '{"user_ids": ["u1", "u'}
    for name, held in torn.items():
        (releases / f"20240102T000000-{name}").mkdir()
        (releases / f"20240102T000000-{name}" / "manifest.json").write_text("{}")
        (releases / f"20240102T000000-{name}" / "encoder.json").write_text(held)
    erasures = shop.erasures()
    erasures.request(USER)
    assert erasures.run()
    erasures.receipts.close()
    assert shop.places_of(MARK) == []
    assert '"u1"' in (releases / "20240101T000000-broken" / "encoder.json").read_text()
    assert (releases / "20240102T000000-other" / "encoder.json").read_text() == torn["other"]


@embedded
def test_nothing_of_somebody_stays_in_what_a_killed_training_left(shop: Shop) -> None:
    run = shop.workspace.checkpoints / "data" / "tune-run"
    run.mkdir(parents=True)
    for name in ("state.pt", ".state.pt", "examples-7.npz", "a.new", TRIALS_FILE):
        (run / name).write_bytes(b"\1")
    erasures = shop.erasures()
    erasures.request(USER)
    assert erasures.run()
    erasures.receipts.close()
    assert [path.name for path in run.iterdir()] == [TRIALS_FILE]


def test_what_comes_late_is_dropped_until_allowed_again(shop: Shop) -> None:
    erasures = shop.erasures()
    erasures.request(USER)
    assert erasures.run()
    late = shop.gate()
    for ids in ((USER, None), (None, DEVICE), ("u1", DEVICE)):
        with pytest.raises(ForgottenError):
            late.event(*ids)
    assert late.page(USER, None).subject_id is None
    assert erasures.allow(USER)
    assert not erasures.allow(USER)
    assert shop.gate().event(USER, DEVICE).subject_id == USER


@embedded
def test_a_device_can_be_forgotten_without_its_user(shop: Shop) -> None:
    erasures = shop.erasures()
    erasures.request(f"visitor:{DEVICE}")
    assert erasures.run()
    erasures.receipts.close()
    assert shop.places_of(DEVICE) == []
    assert [e.event_id for e in shop.engine.events.of_subjects([USER])] == ["e1"]
    assert shop.gate().event(USER, None).subject_id == USER


@embedded
def test_a_running_stream_forgets_too_and_writes_nothing_again(shop: Shop) -> None:
    streaming = assemble(
        shop.workspace,
        shop.engine,
        StreamSettings(statistics_seconds=3600.0, poll_seconds=0.01),
        remember_seconds=86_400.0,
        skew_seconds=300.0,
        now=lambda: NOW + 10,
    )
    for part in streaming.stream._parts:
        if hasattr(part, "_every") and hasattr(part, "_identity"):
            part._every = 0.01
    stopping = threading.Event()
    with alone(shop.workspace.events):
        thread = threading.Thread(target=streaming.run, args=(stopping,))
        thread.start()
        try:
            erasures = shop.erasures()
            receipt = erasures.request(USER)
            assert erasures.run()
        finally:
            stopping.set()
            thread.join()
    assert erasures.receipts.get(receipt.receipt_id).removed("stream") == 2
    erasures.receipts.close()
    assert FeatureRepo.open(shop.workspace).online_user(USER) is None
    assert shop.places_of(MARK) == []


@embedded
def test_a_failing_store_stops_an_erasure_that_goes_on_later(shop: Shop) -> None:
    calls = []

    def failing(user_ids: Sequence[str]) -> int:
        calls.append(user_ids)
        raise EventStoreError("no space left")

    erasures = shop.erasures(online=failing)
    receipt = erasures.request(USER)
    with pytest.raises(EventStoreError):
        erasures.run()
    halfway = erasures.receipts.get(receipt.receipt_id)
    assert halfway.state == "running"
    assert halfway.removed("event_log") == 4
    assert halfway.removed("online_features") is None
    assert MARK not in halfway.model_dump_json()
    erasures.receipts.close()
    again = shop.erasures()
    assert again.run()
    done = again.receipts.get(receipt.receipt_id)
    assert (done.state, done.removed("event_log")) == ("done", 4)
    again.receipts.close()
    assert shop.places_of(MARK) == []


ERASER = """
import os, signal, sys
from pathlib import Path
import qianmian.erasure.stores as stores
from tests.erasure.test_erasure import PRIVACY, Shop, USER
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.workspace import Workspace

erase_rows, count = stores.erase_rows, [0]
def counting(path, people):
    count[0] += 1
    if count[0] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return erase_rows(path, people)
stores.erase_rows = counting
workspace = Workspace(Path(sys.argv[1]), sys.argv[2])
shop = Shop(workspace, open_engine(SqliteEngine(), workspace), SqliteEngine())
erasures = shop.erasures()
erasures.request(USER)
erasures.run()
"""


@embedded
def test_a_killed_erasure_goes_on_where_it_was(shop: Shop) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", ERASER, str(shop.workspace.root), shop.workspace.dataset, "7"],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert killed.returncode == -signal.SIGKILL
    erasures = shop.erasures()
    ((receipt, people),) = erasures.receipts.pending()
    assert USER in people.subjects
    assert receipt.state == "running"
    assert erasures.run()
    done = erasures.receipts.get(receipt.receipt_id)
    assert (done.removed("data_set"), done.state) == (13, "done")
    erasures.receipts.close()
    assert shop.places_of(MARK) == []


@embedded
def test_only_one_works_at_a_time(shop: Shop) -> None:
    first, second = shop.erasures(), shop.erasures()
    first.request(USER)
    with first._alone():
        assert not second.run()
    assert second.run()

"""Merging and forgetting on the whole service: two replicas, the stream, Feast, real models."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from qianmian.decisions.segments import newest
from qianmian.features.store import FeatureRepo
from qianmian.workspace import Workspace
from serving.environment import free_port
from serving.launch import SERVE_FILE
from tests.small_shop import TEST_END

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


@pytest.fixture
def home(small_shop: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(small_shop.root, tmp_path / "home")
    return Workspace(tmp_path / "home", small_shop.dataset)


@contextmanager
def served(home: Workspace, folder: Path, **args: object) -> Iterator[httpx.Client]:
    """The service with two replicas and its stream."""
    raw = yaml.safe_load(SERVE_FILE.read_text())
    (application,) = raw["applications"]
    application["args"] |= args
    application["deployments"][0] |= {"num_replicas": 2}
    application["deployments"][0]["ray_actor_options"] = {"num_cpus": 0.2}
    config = folder / "serve.yaml"
    config.write_text(yaml.safe_dump(raw))
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "qianmian.cli.main"]
    command += ["--home", str(home.root), "--dataset", home.dataset, "serve"]
    command += ["--config", str(config), "--port", str(port)]
    command += ["--clock", f"replay:{TEST_END.isoformat()}"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ}, start_new_session=True
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                until(lambda: _ready(client, process), 180)
                yield client
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(90)


def _ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the service ended"
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it took longer than {seconds} s"
        time.sleep(0.05)


def first_items(client: httpx.Client, user: dict[str, str]) -> list[str]:
    """As whichever replica is asked gives them."""
    asked = {"user": user, "blocks": [{"page_size": 5}]}
    answer = client.post("/v1/venues/all:recommend", json=asked).raise_for_status().json()
    return [item["item_id"] for item in answer["blocks"][0]["items"]]


def test_a_life_with_the_service(home: Workspace, tmp_path: Path) -> None:
    # remembered for a moment only: item statistics that arrive meanwhile part the replicas so long
    with served(home, tmp_path, cache={"size": 64, "ttl_seconds": 1}) as client:
        user = client.get("/v1/users").json()["users"][0]["id"]
        own, strange = first_items(client, {"id": user}), first_items(client, {"visitor_id": "d"})
        assert own != strange
        client.post("/v1/users:merge", json={"visitor_id": "d", "user_id": user}).raise_for_status()
        until(lambda: _pages_agree(client, user, "d"), 60)  # computed anew, over both histories
        own = first_items(client, {"id": user})
        at = datetime.fromtimestamp(TEST_END.timestamp() + 1, tz=UTC).isoformat()
        event = {"event_type": "click", "timestamp": at, "item_id": own[0], "user_id": user}
        sent = {"events": [{**event, "event_id": "e1", "visitor_id": "d"}]}
        assert client.post("/v1/events", json=sent).json()["accepted"] == 1
        until(lambda: _visits(home, user), 30)
        receipt = client.post("/v1/users:forget", json={"user_id": user}).json()
        path = f"/v1/receipts/{receipt['receipt_id']}"
        until(lambda: client.get(path).json()["state"] == "done", 120)
        done = {one["store"]: one["removed"] for one in client.get(path).json()["stores"]}
        assert done["decision_log"] >= 13
        assert done["stream"] == 2
        assert done["event_log"] + done["archive"] == 1
        assert min(done["online_features"], done["data_set"], done["feature_snapshots"]) > 0
        strange = first_items(client, {"id": "never seen"})  # what is popular moves
        assert [first_items(client, {"id": user}) for _ in range(6)] == [strange] * 6
        again = {"events": [{**event, "event_id": "e2"}]}
        assert client.post("/v1/events", json=again).json()["accepted"] == 0
    assert FeatureRepo.open(home).online_user(user) is None
    assert user not in {row["subject_id"] for row in newest(home.decisions, 999)}
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert [path.name for path in files if user.encode() in path.read_bytes()] == []
    assert user not in (tmp_path / "serve.log").read_text()


def _pages_agree(client: httpx.Client, user: str, visitor: str) -> bool:
    """Whether a device is shown what its account is, by every replica."""
    own = first_items(client, {"id": user})
    return [first_items(client, {"visitor_id": visitor}) for _ in range(12)] == [own] * 12


def _visits(home: Workspace, user: str) -> bool:
    """Whether the stream has worked the event in."""
    row = FeatureRepo.open(home).online_user(user) or {}
    ats = row.get("recent_at")
    return isinstance(ats, list) and bool(ats) and max(ats) > TEST_END.timestamp()

"""Users are removed from each online store that the documents name, every byte."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from qianmian.errors import ConfigError, FeatureStoreError
from qianmian.features.feast_store import CONFIG_FILE
from qianmian.features.store import FeatureRepo
from qianmian.workspace import FEATURE_REPO, Workspace
from tests.features.conftest import TRAIN_END
from tests.redis_server import RedisServer, needs_redis

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture
def home(shop: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(shop.root, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / shop.dataset / "feast", ignore_errors=True)
    return Workspace(tmp_path / "home", shop.dataset)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="qm") as folder:  # socket paths must be short
        server = RedisServer(Path(folder))
        yield server
        server.kill()


def opened(home: Workspace, online_store: dict[str, str] | None = None) -> FeatureRepo:
    """The features online, in the store that is chosen."""
    definitions = home.root / "feature_repo"
    shutil.copytree(FEATURE_REPO, definitions)
    config = definitions / CONFIG_FILE
    chosen = yaml.safe_load(config.read_text())
    chosen["online_store"] = online_store or chosen["online_store"]
    config.write_text(yaml.safe_dump(chosen))
    repo = FeatureRepo.open(home, definitions)
    repo.materialize(TRAIN_END)
    return repo


def test_from_the_packed_store(home: Workspace) -> None:
    repo = opened(home)
    assert any(b"planted" in file.read_bytes() for file in home.feast.iterdir())
    assert repo.erase_users(["planted", "never there"]) >= 5
    assert repo.erase_users(["planted"]) == 0
    assert repo.online_user("planted") is None
    assert repo.online_user("u1") is not None
    assert all(b"planted" not in file.read_bytes() for file in home.feast.iterdir())


def redis_store(server: RedisServer) -> dict[str, str]:
    socket = server.url.removeprefix("unix://")
    timeouts = "socket_timeout=0.2,socket_connect_timeout=0.2"
    return {"type": "redis", "connection_string": f"here:0,unix_socket_path={socket},{timeouts}"}


@needs_redis
def test_from_redis(home: Workspace, redis_server: RedisServer) -> None:
    repo = opened(home, redis_store(redis_server))
    assert repo.online_user("planted") is not None
    assert repo.erase_users(["planted", "never there"]) == 1
    assert repo.online_user("planted") is None
    assert repo.online_user("u1") is not None
    files = [path for path in redis_server.folder.rglob("*") if path.is_file()]
    assert all(b"planted" not in path.read_bytes() for path in files if path.name != "log")


@needs_redis
def test_a_redis_that_pages_would_wait_for_without_end_is_refused(
    home: Workspace, redis_server: RedisServer
) -> None:
    store = redis_store(redis_server)
    string = store["connection_string"].replace(",socket_timeout=0.2", "")
    with pytest.raises(ConfigError, match=r"lacks socket_timeout: .* append ,socket_timeout=0\.2"):
        opened(home, {**store, "connection_string": string})


def test_another_store_is_refused(home: Workspace) -> None:
    repo = opened(home, {"type": "sqlite", "path": str(home.root / "plain.db")})
    with pytest.raises(FeatureStoreError, match="people cannot be erased"):
        repo.erase_users(["planted"])

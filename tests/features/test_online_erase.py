"""Users are removed from each online store that the documents name, every byte."""

from __future__ import annotations

import pytest

from qianmian.errors import FeatureStoreError
from qianmian.workspace import Workspace
from tests.features.online_stores import opened, redis_store
from tests.redis_server import RedisServer, needs_redis

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def test_from_the_packed_store(home: Workspace) -> None:
    repo = opened(home)
    assert any(b"planted" in file.read_bytes() for file in home.feast.iterdir())
    assert repo.erase_users(["planted", "never there"]) >= 5
    assert repo.erase_users(["planted"]) == 0
    assert repo.online_user("planted") is None
    assert repo.online_user("u1") is not None
    assert all(b"planted" not in file.read_bytes() for file in home.feast.iterdir())


@needs_redis
def test_from_redis(home: Workspace, redis_server: RedisServer) -> None:
    repo = opened(home, redis_store(redis_server))
    assert repo.online_user("planted") is not None
    assert repo.erase_users(["planted", "never there"]) == 1
    assert repo.online_user("planted") is None
    assert repo.online_user("u1") is not None
    files = [path for path in redis_server.folder.rglob("*") if path.is_file()]
    assert all(b"planted" not in path.read_bytes() for path in files if path.name != "log")


def test_another_store_is_refused(home: Workspace) -> None:
    repo = opened(home, {"type": "sqlite", "path": str(home.root / "plain.db")})
    with pytest.raises(FeatureStoreError, match="people cannot be erased"):
        repo.erase_users(["planted"])

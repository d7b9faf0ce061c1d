"""Every engine, opened fresh: what stands in this folder is run against each of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from qianmian.events.engine import Engine, EngineSettings, RedisEngine, SqliteEngine, open_engine
from qianmian.workspace import Workspace
from tests.redis_server import RedisServer, needs_redis

SHOPS = count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="qm") as folder:  # socket paths must be short
        server = RedisServer(Path(folder))
        yield server
        server.kill()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def settings_of_engine(request: pytest.FixtureRequest) -> EngineSettings:
    if request.param == "sqlite":
        return SqliteEngine()
    return RedisEngine(kind="redis", url=request.getfixturevalue("redis_server").url)


@pytest.fixture
def open_again(
    settings_of_engine: EngineSettings, tmp_path: Path
) -> Iterator[Callable[[], Engine]]:
    """Opens the engine of one data set, as another process would."""
    workspace = Workspace(tmp_path, f"shop-{next(SHOPS)}")
    opened: list[Engine] = []

    def open_() -> Engine:
        opened.append(open_engine(settings_of_engine, workspace))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def files(
    settings_of_engine: EngineSettings, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[], bytes]:
    """Reads all that the engine has on the disk."""
    redis = isinstance(settings_of_engine, RedisEngine)
    folder = request.getfixturevalue("redis_server").folder if redis else tmp_path

    def read() -> bytes:
        found = [path for path in folder.rglob("*") if path.is_file() and path.name != "log"]
        return b"".join(path.read_bytes() for path in found)

    return read


@pytest.fixture
def engine(open_again: Callable[[], Engine]) -> Engine:
    return open_again()

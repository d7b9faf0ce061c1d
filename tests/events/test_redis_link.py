"""A Redis that could lose what it was given is refused, and told how to keep it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qianmian.errors import ConfigError, EventStoreError
from qianmian.events.engine import RedisEngine, open_engine
from qianmian.events.store import BEGINNING
from qianmian.workspace import Workspace
from tests.events.made import event
from tests.redis_server import DURABLE, RedisServer, needs_redis

pytestmark = needs_redis


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="qm") as path:  # socket paths must be short
        yield Path(path)


def open_(server: RedisServer, home: Path):
    return open_engine(RedisEngine(kind="redis", url=server.url), Workspace(home, "shop"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "no"), "appendonly='no': expected 'yes'"),
        (("--appendonly", "yes"), "appendfsync='everysec': expected 'always'"),
        (
            (*DURABLE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            "maxmemory-policy='allkeys-lru': expected 'noeviction'",
        ),
    ],
)
def test_a_redis_that_may_lose_events_is_refused(folder: Path, options, said: str) -> None:
    server = RedisServer(folder, *options)
    try:
        with pytest.raises(EventStoreError) as caught:
            open_(server, folder)
        assert said in str(caught.value)
        assert "CONFIG SET" in str(caught.value)
    finally:
        server.kill()


def test_a_killed_redis_comes_back_with_every_event(folder: Path) -> None:
    server = RedisServer(folder)
    try:
        engine = open_(server, folder)
        assert engine.events.append([event(1), event(2)]) == [True, True]
        server.kill()
        with pytest.raises(EventStoreError, match="is it up and writable"):
            engine.events.append([event(3)])
        server.start()
        assert engine.events.append([event(2), event(3)]) == [False, True]
        events, _ = engine.events.read(BEGINNING, 10)
        assert [one.event_id for one in events] == ["e1", "e2", "e3"]
        engine.close()
    finally:
        server.kill()


def test_a_redis_that_comes_back_careless_is_refused(folder: Path) -> None:
    server = RedisServer(folder)
    engine = open_(server, folder)
    server.kill()
    careless = RedisServer(folder, "--appendonly", "no")
    try:
        with pytest.raises(EventStoreError, match="appendonly='no'"):
            engine.events.append([event(1)])
    finally:
        careless.kill()


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    settings = RedisEngine(kind="redis", url="http://me:secret@somewhere")
    with pytest.raises(ConfigError, match="expected redis://") as caught:
        open_engine(settings, Workspace(Path(), "shop"))
    assert "secret" not in str(caught.value)

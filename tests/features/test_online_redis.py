"""Redis as online store: a page waits for it once, and not for long; what is written stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from time import monotonic

import pytest
import redis

from qianmian.contracts import features as f
from qianmian.errors import ConfigError, FeatureStoreError
from qianmian.events.engine import Engine, SqliteEngine, open_engine
from qianmian.stream.assembly import Streaming, assemble
from qianmian.stream.settings import StreamSettings
from qianmian.workspace import Workspace
from serving.feed.patience import PATIENCE_SECONDS, patient
from tests.features.online_stores import opened, redis_store
from tests.redis_server import RedisServer, needs_redis
from tests.stream.conftest import NOW, REMEMBER_SECONDS, SKEW_SECONDS, sent

pytestmark = [
    needs_redis,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


def test_one_that_hangs_is_waited_for_once(home: Workspace, redis_server: RedisServer) -> None:
    repo = opened(home, redis_store(redis_server))
    read = patient(repo.online_user, pause=0.5)
    assert read("u1") is not None
    redis_server.suspend()
    began = monotonic()
    with pytest.raises(FeatureStoreError, match="TimeoutError"):
        read("u1")
    assert 0.2 <= monotonic() - began < 1.5, "the client tries again"
    began = monotonic()
    for _ in range(3):
        with pytest.raises(FeatureStoreError, match="not asked again yet"):
            read("u2")
    assert monotonic() - began < PATIENCE_SECONDS
    redis_server.resume()
    deadline = monotonic() + 10
    while monotonic() < deadline:
        try:
            assert read("u1") is not None
            break
        except FeatureStoreError:
            continue
    else:
        pytest.fail("it was not asked again")


@pytest.mark.parametrize(
    ("timeouts", "said"),
    [
        ("socket_connect_timeout=0.2", "socket_timeout=None"),
        ("socket_timeout=0.2", "socket_connect_timeout=None"),
        ("socket_timeout=null,socket_connect_timeout=0.2", "socket_timeout=None"),
        ("socket_timeout=60,socket_connect_timeout=0.2", "socket_timeout=60"),
        (" socket_timeout=0.2,socket_connect_timeout=0.2", "without spaces"),
    ],
)
def test_one_that_could_hold_pages_up_is_refused(
    home: Workspace, redis_server: RedisServer, timeouts: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        opened(home, redis_store(redis_server, timeouts))


def test_one_that_drops_what_is_written_is_refused(
    home: Workspace, redis_server: RedisServer
) -> None:
    with pytest.raises(ConfigError, match="skip_dedup=False"):
        opened(home, {**redis_store(redis_server), "skip_dedup": False})


@contextmanager
def stream_of(home: Workspace) -> Iterator[tuple[Engine, Streaming]]:
    """The stream on the online store that was opened, and its engine."""
    engine = open_engine(SqliteEngine(), home)
    yield (
        engine,
        assemble(
            home,
            engine,
            StreamSettings(),
            remember_seconds=REMEMBER_SECONDS,
            skew_seconds=SKEW_SECONDS,
            now=lambda: NOW,
            feature_repo=home.root / "feature_repo",
        ),
    )
    engine.close()


def test_an_event_from_a_clock_ahead_hides_no_later_one(
    home: Workspace, redis_server: RedisServer
) -> None:
    repo = opened(home, redis_store(redis_server))
    with stream_of(home) as (engine, streaming):
        engine.events.append([sent(200, "u1", "i19"), sent(1, "u2", "i18")])
        streaming.drain()
        engine.events.append([sent(2, "u2", "i17")])
        streaming.drain()
    row = repo.online_user("u2")
    assert row is not None
    assert row[f.LEDGER_ITEM_IDS][:2] == ["i17", "i18"]


@pytest.mark.parametrize("outage", [redis.TimeoutError, redis.ResponseError])
def test_the_stream_goes_on_when_it_was_out(
    home: Workspace,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    outage: type[Exception],
) -> None:
    repo = opened(home, redis_store(redis_server))
    store = type(repo.store.provider.online_store)
    write, failing = store.online_write_batch, [outage("of u2")]

    def once(*args: object, **options: object) -> None:
        if failing:
            raise failing.pop()
        write(*args, **options)

    monkeypatch.setattr(store, "online_write_batch", once)
    with stream_of(home) as (engine, streaming):
        engine.events.append([sent(1, "u2", "i18")])
        stopping = Event()
        streaming.stream.run(stopping, stopping.set)
    row = repo.online_user("u2")
    assert row is not None
    assert row[f.LEDGER_ITEM_IDS][0] == "i18"
    assert f"cannot go on now, trying again in 0.2 s: the online store: {outage.__name__}" in (
        caplog.text
    )
    assert "u2" not in caplog.text

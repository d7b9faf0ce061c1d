"""Redis as online store: a page waits for it once, and not for long."""

from __future__ import annotations

from time import monotonic

import pytest

from qianmian.errors import ConfigError, FeatureStoreError
from qianmian.workspace import Workspace
from serving.feed.patience import PATIENCE_SECONDS, patient
from tests.features.online_stores import opened, redis_store
from tests.redis_server import RedisServer, needs_redis

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

"""A Redis of the tests' own, where the binary is there."""

from __future__ import annotations

import pytest

from benchmarks.redis_server import BINARY, DURABLE, RedisServer

__all__ = ["DURABLE", "RedisServer", "needs_redis"]

needs_redis = pytest.mark.skipif(
    BINARY is None, reason="redis-server is not installed (Debian: apt-get install redis-server)"
)

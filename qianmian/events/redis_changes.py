"""Compacted topics in Redis: a hash for each topic, and a sorted set for the order of changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qianmian.events.changes import Change
from qianmian.events.redis_link import RedisLink

_APART: Final = b"\x00"  # between topic and key in the order

# KEYS: order, counter, topic. ARGV: prefix of members, then key, 1 or 0 (deleted), value.
_PUT: Final = """
for at = 2, #ARGV, 3 do
  if ARGV[at + 1] == '1' then
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 2])
  else
    redis.call('HDEL', KEYS[3], ARGV[at])
  end
  redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[1] .. ARGV[at])
end
return 0
"""

# KEYS as above. ARGV: member, key, 1 or 0 (expected something), that, 1 or 0 (deleted), value.
_SWAP: Final = """
local found = redis.call('HGET', KEYS[3], ARGV[2])
if (found and '1' or '0') ~= ARGV[3] or (found or '') ~= ARGV[4] then return 0 end
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[6])
else
  redis.call('HDEL', KEYS[3], ARGV[2])
end
redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[1])
return 1
"""


class RedisChanges:
    """`Changes` on Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._order = link.key("changes")
        self._counter = link.key("changes:places")
        self._put = link.script(_PUT)
        self._swap = link.script(_SWAP)

    def put(self, topic: str, values: Mapping[str, bytes | None]) -> None:
        if not values:
            return
        given: list[Any] = [topic.encode() + _APART]
        for key, value in values.items():
            given += (key.encode(), *_told(value))
        with self._link.using():
            self._put(keys=[self._order, self._counter, self._topic(topic)], args=given)

    def swap(self, topic: str, key: str, *, expected: bytes | None, value: bytes | None) -> bool:
        member = topic.encode() + _APART + key.encode()
        given = [member, key.encode(), *_told(expected), *_told(value)]
        with self._link.using():
            keys = [self._order, self._counter, self._topic(topic)]
            return bool(self._swap(keys=keys, args=given))

    def value(self, topic: str, key: str) -> bytes | None:
        with self._link.using() as client:
            found: bytes | None = client.hget(self._topic(topic), key.encode())
        return found

    def purge(self, topic: str, keys: Sequence[str]) -> int:
        if not keys:
            return 0
        removed = self._remove(topic, keys)
        self._link.rewrite()
        return removed

    def drop(self, topic: str, keys: Sequence[str]) -> None:
        if keys:
            self._remove(topic, keys)

    def _remove(self, topic: str, keys: Sequence[str]) -> int:
        with self._link.using() as client:
            members = [topic.encode() + _APART + key.encode() for key in keys]
            client.hdel(self._topic(topic), *(key.encode() for key in keys))
            return int(client.zrem(self._order, *members))

    def since(self, cursor: int, limit: int = 10_000) -> tuple[list[Change], int]:
        with self._link.using() as client:
            found = client.zrangebyscore(
                self._order, f"({cursor}", "+inf", start=0, num=limit, withscores=True
            )
            if not found:
                return [], cursor
            members = [member.partition(_APART)[::2] for member, _ in found]
            keys: dict[bytes, list[bytes]] = defaultdict(list)
            for topic, key in members:
                keys[topic].append(key)
            values: dict[tuple[bytes, bytes], bytes | None] = {}
            for topic, wanted in keys.items():
                held = client.hmget(self._topic(topic.decode()), wanted)
                values.update({(topic, key): one for key, one in zip(wanted, held, strict=True)})
        changes = [
            Change(topic.decode(), key.decode(), values[topic, key]) for topic, key in members
        ]
        return changes, int(found[-1][1])

    def get(self, topic: str) -> dict[str, bytes]:
        with self._link.using() as client:
            held = client.hgetall(self._topic(topic))
        return {key.decode(): value for key, value in held.items()}

    def close(self) -> None:
        self._link.close()

    def _topic(self, topic: str) -> str:
        return self._link.key(f"topic:{topic}")


def _told(value: bytes | None) -> tuple[bytes, bytes]:
    """Return a value as scripts take it: whether there is one, and what it is."""
    return (b"0", b"") if value is None else (b"1", value)

"""The event log in Redis: the engine of several machines.

A stream holds the order (its ids are `<place>-0`, and its consumer groups the checkpoints), a hash
the bodies by hashed event id, a sorted set all hashed ids ever taken with the moment they were
received, and a set for each subject its events. One Lua script appends a batch: Redis runs it
alone, and syncs its append-only file before it answers. Bodies lie outside of the stream because a
stream marks what is deleted without overwriting it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from secrets import token_hex
from typing import Any, Final

import redis

from qianmian.events.event import StoredEvent
from qianmian.events.redis_link import RedisLink
from qianmian.events.sqlite_store import id_hash
from qianmian.events.store import BEGINNING

_FIELD: Final = "id"
_CHUNK: Final = 1_000

# KEYS: log, counter, bodies, ids. ARGV: prefix of subjects, then for each event id, received_at,
# subject, body. Answers with one digit for each: 1 where the event is new.
_APPEND: Final = """
local new = {}
for at = 2, #ARGV, 4 do
  local id = ARGV[at]
  if redis.call('ZADD', KEYS[4], 'NX', ARGV[at + 1], id) == 1 then
    local place = string.format('%.0f', redis.call('INCR', KEYS[2]))
    redis.call('XADD', KEYS[1], place .. '-0', 'id', id)
    redis.call('HSET', KEYS[3], id, ARGV[at + 3])
    redis.call('SADD', ARGV[1] .. ARGV[at + 2], place .. ':' .. id)
    new[#new + 1] = '1'
  else
    new[#new + 1] = '0'
  end
end
return table.concat(new)
"""

# KEYS: log, bodies, subject. Answers with the number of events that were removed.
_ERASE: Final = """
local entries = redis.call('SMEMBERS', KEYS[3])
for _, entry in ipairs(entries) do
  local colon = string.find(entry, ':', 1, true)
  redis.call('XDEL', KEYS[1], string.sub(entry, 1, colon - 1) .. '-0')
  redis.call('HDEL', KEYS[2], string.sub(entry, colon + 1))
end
redis.call('DEL', KEYS[3])
return #entries
"""

# KEYS: bodies. ARGV: id, the body that is there, the one to replace it. Answers 1 where it did.
_REPLACE: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""

# KEYS: ids, bodies. ARGV: moment, offset, count. Answers with how many were seen and removed.
_FORGET: Final = """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', ARGV[2], ARGV[3])
local removed = 0
for _, id in ipairs(ids) do
  if redis.call('HEXISTS', KEYS[2], id) == 0 then
    removed = removed + redis.call('ZREM', KEYS[1], id)
  end
end
return {#ids, removed}
"""


class RedisEventStore:
    """`EventStore` on Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._log = link.key("log")
        self._bodies = link.key("bodies")
        self._ids = link.key("ids")
        self._counter = link.key("places")
        self._name_key = link.key("name")
        self._append = link.script(_APPEND)
        self._erase = link.script(_ERASE)
        self._forget = link.script(_FORGET)
        self._replace = link.script(_REPLACE)

    def append(self, events: Sequence[StoredEvent]) -> list[bool]:
        if not events:
            return []
        given: list[Any] = [self._subject("")]
        for event in events:
            given += (
                id_hash(event.event_id),
                repr(event.received_at),
                event.subject_id.encode("utf-8", "surrogatepass"),
                event.to_json(),
            )
        keys = [self._log, self._counter, self._bodies, self._ids]
        with self._link.using():
            new: bytes = self._append(keys=keys, args=given)
        return [digit == ord("1") for digit in new]

    def read(self, after: str, limit: int) -> tuple[list[StoredEvent], str]:
        with self._link.using() as client:
            entries = client.xrange(self._log, min=f"({_place(after)}-0", count=limit)
            return self._events(client, entries), _cursor(entries[-1][0]) if entries else after

    def newest(self, limit: int) -> tuple[list[StoredEvent], str]:
        with self._link.using() as client:
            entries = client.xrevrange(self._log, count=limit)[::-1]
            return self._events(client, entries), _cursor(entries[-1][0]) if entries else BEGINNING

    def name(self) -> str:
        with self._link.using() as client:
            name: bytes | None = client.get(self._name_key)
            if name is None:
                client.set(self._name_key, token_hex(8), nx=True)
                name = client.get(self._name_key)
        return (name or b"").decode()

    def size(self) -> int:
        with self._link.using() as client:
            return int(client.xlen(self._log))

    def committed(self, group: str) -> str:
        return self._checkpoints().get(group, BEGINNING)

    def commit(self, group: str, cursor: str) -> None:
        place = f"{_place(cursor)}-0"
        with self._link.using() as client:
            try:
                client.xgroup_setid(self._log, group, place)
            except redis.ResponseError:  # no such group or no log yet
                client.xgroup_create(self._log, group, place, mkstream=True)

    def groups(self) -> list[str]:
        return sorted(self._checkpoints())

    def lag(self, group: str) -> int:
        with self._link.using() as client:
            newest = client.xrevrange(self._log, count=1)
        last = _place(_cursor(newest[0][0])) if newest else 0
        return max(0, last - _place(self.committed(group)))

    def of_subjects(self, subject_ids: Sequence[str]) -> list[StoredEvent]:
        subjects = list(dict.fromkeys(subject_ids))
        if not subjects:
            return []
        with self._link.using() as client:
            entries = client.sunion([self._subject(subject) for subject in subjects])
            in_order = sorted((int(place), id_) for place, id_ in map(_parts, entries))
            bodies: list[bytes | None] = []
            for chunk in _chunks(id_ for _, id_ in in_order):
                bodies += client.hmget(self._bodies, chunk)
        return [StoredEvent.from_json(body) for body in bodies if body is not None]

    def erase(self, subject_ids: Sequence[str]) -> int:
        erased: int = 0
        with self._link.using():
            for subject in dict.fromkeys(subject_ids):
                keys = [self._log, self._bodies, self._subject(subject)]
                erased += int(self._erase(keys=keys))
        if erased:
            self._link.rewrite()
        return erased

    def redact(self, user_ids: Sequence[str], visitor_ids: Sequence[str]) -> int:
        redacted = 0
        users, visitors = set(user_ids), set(visitor_ids)
        with self._link.using() as client:
            for id_, body in client.hscan_iter(self._bodies, count=_CHUNK):
                event = StoredEvent.from_json(body)
                clean = event.without(users, visitors)
                if clean is not event:
                    given = [id_, body, clean.to_json()]
                    redacted += int(self._replace(keys=[self._bodies], args=given))
        if redacted:
            self._link.rewrite()
        return redacted

    def trim(self, before: str) -> int:
        trimmed = 0
        with self._link.using() as client:
            while True:
                entries = client.xrange(self._log, max=f"{_place(before)}-0", count=_CHUNK)
                if not entries:
                    return trimmed
                ids = [fields[_FIELD.encode()] for _, fields in entries]
                bodies = client.hmget(self._bodies, ids)
                with client.pipeline(transaction=True) as steps:
                    for (place, _), id_, body in zip(entries, ids, bodies, strict=True):
                        if body is not None:
                            subject = StoredEvent.from_json(body).subject_id
                            entry = _cursor(place).encode() + b":" + id_
                            steps.srem(self._subject(subject), entry)
                    steps.hdel(self._bodies, *ids)
                    steps.xdel(self._log, *(place for place, _ in entries))
                    trimmed += int(steps.execute()[-1])

    def forget_ids(self, received_before: float) -> int:
        forgotten = kept = 0
        with self._link.using():
            while True:
                answer = self._forget(
                    keys=[self._ids, self._bodies], args=[repr(received_before), kept, _CHUNK]
                )
                seen, removed = map(int, answer)
                forgotten += removed
                kept += seen - removed
                if seen < _CHUNK:
                    return forgotten

    def close(self) -> None:
        self._link.close()

    def _events(self, client: Any, entries: list[Any]) -> list[StoredEvent]:
        if not entries:
            return []
        bodies = client.hmget(self._bodies, [fields[_FIELD.encode()] for _, fields in entries])
        return [StoredEvent.from_json(body) for body in bodies if body is not None]

    def _subject(self, subject_id: str) -> bytes:
        return self._link.key("subject:").encode() + subject_id.encode("utf-8", "surrogatepass")

    def _checkpoints(self) -> dict[str, str]:
        with self._link.using() as client:
            try:
                groups = client.xinfo_groups(self._log)
            except redis.ResponseError:  # no log yet
                return {}
        return {group["name"].decode(): _cursor(group["last-delivered-id"]) for group in groups}


def _place(cursor: str) -> int:
    return int(cursor) if cursor != BEGINNING else 0


def _cursor(entry_id: bytes) -> str:
    place = entry_id.split(b"-", 1)[0].decode()
    return place if place != "0" else BEGINNING


def _parts(entry: bytes) -> tuple[bytes, bytes]:
    place, _, id_ = entry.partition(b":")
    return place, id_


def _chunks(values: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(values, _CHUNK)):
        yield chunk

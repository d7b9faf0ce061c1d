"""The link to Redis: connections that keep the promise of durability, keys of one data set.

An accepted event must survive a crash, so a Redis that does not sync its append-only file before it
answers is refused, and so is one that may evict keys. That is looked at whenever a connection is
made, for a Redis may come back from a restart with other settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from qianmian.errors import ConfigError, EventStoreError

#: Settings that a promise of durability needs, and how to make them.
_NEEDED: Final = {"appendonly": "yes", "appendfsync": "always"}
_KEEPS_ALL: Final = "noeviction"
_SECONDS: Final = 10.0
_REWRITE_SECONDS: Final = 120.0
_POLL: Final = 0.02
#: What `INFO persistence` calls that a file is being written anew, and how that ended.
_AOF: Final = ("aof_rewrite_in_progress", "aof_last_bgrewrite_status")
_RDB: Final = ("rdb_bgsave_in_progress", "rdb_last_bgsave_status")


class RedisLink:
    """A client, and the names of one data set's keys."""

    def __init__(self, url: str, dataset: str, *, timeout: float = _SECONDS) -> None:
        """Connect, and look whether Redis keeps what it is given.

        Raises:
            EventStoreError: it does not answer, or does not keep what it is given.
            ConfigError: the URL is none.
        """
        self.shown = _without_password(url)
        self._prefix = f"{{qianmian:{dataset}}}:"  # one hash slot: scripts see all keys
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
                redis_connect_func=self._connected,
            )
        except ValueError as error:
            raise ConfigError(
                f"engine.url={self.shown!r}: {error}; expected redis://HOST:PORT/DB, "
                "rediss:// or unix:///PATH"
            ) from error
        with self.using() as client:
            client.ping()

    def key(self, name: str) -> str:
        """Return the full name of a key."""
        return self._prefix + name

    def script(self, text: str) -> Any:
        """Return a Lua script that can be called with `keys` and `args`."""
        return self._client.register_script(text)

    @contextmanager
    def using(self) -> Iterator[Any]:
        """Use the client.

        Raises:
            EventStoreError: Redis cannot do its work now.
        """
        try:
            yield self._client
        except redis.RedisError as error:
            raise EventStoreError(f"{self.shown}: {error}; is it up and writable?") from error

    def rewrite(self) -> None:
        """Have the files on disk written anew, so that nothing removed is left in them.

        Raises:
            EventStoreError: it failed or took too long.
        """
        with self.using() as client:
            rewrite_files(client, self.shown)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _connected(self, connection: Any) -> None:
        """Look at the settings of a Redis that was just connected to."""
        connection.on_connect()
        found: dict[str, str] = {}
        for setting in (*_NEEDED, "maxmemory", "maxmemory-policy"):
            connection.send_command("CONFIG", "GET", setting)
            try:
                answer = connection.read_response()
            except redis.ResponseError as error:
                connection.disconnect()
                raise EventStoreError(
                    f"{self.shown}: its settings cannot be read ({error}): expected leave to run "
                    "CONFIG GET, for events must not be lost; grant it (+config|get)"
                ) from error
            pairs = list(answer.items()) if isinstance(answer, dict) else [tuple(answer)]
            found.update({_text(name): _text(value) for name, value in pairs})
        faults = _faults(found)
        if faults:
            connection.disconnect()
            raise EventStoreError(f"{self.shown}: {'; '.join(faults)}")


def rewrite_files(client: Any, shown: str) -> None:
    """Have a Redis write its files anew; `shown` names it in messages.

    Raises:
        EventStoreError: it failed or took too long.
    """
    settings = client.config_get("*")
    if settings.get("appendonly") == "yes":
        _until_done(client, client.bgrewriteaof, _AOF, shown)
    if settings.get("save"):
        _until_done(client, client.bgsave, _RDB, shown)


def _until_done(client: Any, begin: Callable[[], Any], told: tuple[str, str], shown: str) -> None:
    running, status = told
    deadline = monotonic() + _REWRITE_SECONDS
    waiting = True
    while waiting:
        if monotonic() > deadline:
            raise EventStoreError(
                f"{shown}: what was removed may still be on disk: the rewrite did not "
                f"end within {_REWRITE_SECONDS:g} s; run BGREWRITEAOF (and BGSAVE) by hand"
            )
        try:
            begin()
            waiting = False
        except redis.ResponseError:  # one is running already: it began before the removal
            sleep(_POLL)
    while True:
        found = client.info("persistence")
        if not found[running] and not found.get("aof_rewrite_scheduled"):
            break
        if monotonic() > deadline:
            raise EventStoreError(f"{shown}: rewriting its files takes too long")
        sleep(_POLL)
    if found[status] != "ok":
        raise EventStoreError(f"{shown}: rewriting its files failed; look at its log")


def _faults(found: dict[str, str]) -> list[str]:
    faults = [
        f"{name}={found.get(name)!r}: expected {wanted!r}, for an accepted event must survive a "
        f"crash; run `redis-cli CONFIG SET {name} {wanted}` and set it in redis.conf"
        for name, wanted in _NEEDED.items()
        if found.get(name) != wanted
    ]
    if found.get("maxmemory") != "0" and found.get("maxmemory-policy") != _KEEPS_ALL:
        faults.append(
            f"maxmemory-policy={found.get('maxmemory-policy')!r}: expected {_KEEPS_ALL!r}, "
            f"for events must not be evicted; run `redis-cli CONFIG SET maxmemory-policy "
            f"{_KEEPS_ALL}` and set it in redis.conf"
        )
    return faults


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

"""Durability: events sent while the service is killed again and again; none is lost or doubled.

    python -m benchmarks.durability > durability.json
    python -m benchmarks.durability --engine redis --events 50000

Progress goes to stderr, one JSON object to stdout. Clients send batches over HTTP to the service in
a child process and send each again, with the same event ids, until it was answered with 202. The
service is killed with SIGKILL, a moment after every so many accepted events, and started again.
The stream process that keeps online features up to date is killed with it every second time, and
so is Redis with `--engine redis`. At the end the stream works off the rest, and then:

- `accepted`: events that some 202 spoke of; `stored`: events in the log
- `lost`: accepted, not stored; `duplicated`: stored more than once
- `wrong_counts`: shoppers whose orders or units differ from what the clients know was accepted, by
  the feature functions over the log or in the online store that the stream wrote
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter, sleep
from typing import Any, Final

import orjson

from benchmarks import command
from benchmarks.event_counts import counts_of_clients, counts_of_log, counts_online, differing
from benchmarks.event_shop import (
    IMPORTED_ORDERS,
    Service,
    StreamProcess,
    bodies,
    build_features,
    made_events,
    make_shop,
)
from benchmarks.redis_server import RedisServer
from qianmian.contracts import columns as c
from qianmian.events.engine import EngineSettings, RedisEngine, SqliteEngine, open_engine
from qianmian.events.event import StoredEvent
from qianmian.events.store import BEGINNING, EventStore
from qianmian.workspace import Workspace

_TIMEOUT: Final = 10.0
_WAIT: Final = 0.2  # seconds before a client tries again
_PAGE: Final = 20_000
_LATEST_KILL: Final = 0.05  # seconds after the events that it waited for

Event = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = _options()
    rng = Random(options.seed)
    began = perf_counter()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qm")))
        workspace = make_shop(home)
        build_features(workspace)
        redis = None
        if options.engine == "redis":
            redis = RedisServer(home / "redis")
            stack.callback(redis.kill)
        settings = _engine(redis)
        engine = settings.model_dump(mode="json")
        service = Service(home, engine, _free_port(), home / "log")
        service.start()
        stack.callback(service.kill)
        stream = StreamProcess(home, engine, home / "stream.log")
        stream.start()
        stack.callback(stream.kill)
        sent = _Sending(made_events(options.events, rng, "d"), options.batch, service.port)
        kills = _kill_while(sent, _Parts(service, stream, redis), options, rng)
        service.stop()
        command.say("the stream works off the rest")
        stream.drain()
        report = _judge(sent, settings, workspace)
    report |= {"kills": kills["service"], "stream_kills": kills["stream"]}
    report |= {"redis_kills": kills["redis"]} if redis else {}
    report |= {"engine": options.engine, "clients": options.clients, "sent_again": sent.again}
    report |= {"seconds": round(perf_counter() - began, 1)}
    command.report(report)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is killed."""

    service: Service
    stream: StreamProcess
    redis: RedisServer | None

    def kill(self, number: int) -> Counter[str]:
        """Kill the service, every second time the rest too, and start all again."""
        killed = Counter(["service"])
        self.service.kill()
        if number % 2:
            self.stream.kill()
            killed["stream"] += 1
            if self.redis is not None:
                self.redis.kill()
                self.redis.start()
                killed["redis"] += 1
            self.stream.start()
        self.service.start()
        return killed


class _Sending:
    """All clients: what is to be sent, and what was answered."""

    def __init__(self, events: list[Event], batch: int, port: int) -> None:
        self.events = events
        self.accepted = 0
        self.again = 0
        self.faults: list[str] = []
        self._port = port
        self._waiting = list(reversed(bodies(events, batch)))
        self._lock = threading.Lock()

    def run(self, clients: int) -> list[threading.Thread]:
        """Start the clients; each takes the next batch when its own was answered."""
        threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        return threads

    def _client(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                body = self._waiting.pop()
            answer = self._send(body)
            count = answer["accepted"] + answer["duplicates"]
            with self._lock:
                self.accepted += count
                self.faults += [one["error"] for one in answer["rejected"]]

    def _send(self, body: bytes) -> dict[str, Any]:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
            try:
                connection.request("POST", "/v1/events", body)
                response = connection.getresponse()
                content = response.read()
                if response.status == http.client.ACCEPTED:
                    answer: dict[str, Any] = orjson.loads(content)
                    return answer
                if response.status != http.client.SERVICE_UNAVAILABLE:
                    with self._lock:
                        self.faults.append(content.decode())
            except (OSError, http.client.HTTPException):
                pass  # killed meanwhile: whether it was stored is not known, so send it again
            finally:
                connection.close()
            with self._lock:
                self.again += 1
            sleep(_WAIT)


def _kill_while(
    sent: _Sending, parts: _Parts, options: argparse.Namespace, rng: Random
) -> Counter[str]:
    """Run the clients to their end; returns how often each part was killed."""
    clients = sent.run(options.clients)
    kills: Counter[str] = Counter()
    for number in range(options.kills):
        goal = len(sent.events) * (number + 1) // (options.kills + 1)
        while sent.accepted < goal:
            sleep(0.001)
        sleep(rng.uniform(0, _LATEST_KILL))
        kills += parts.kill(number)
        command.say(
            f"kill {number + 1}: {sent.accepted:,} accepted, {sent.again:,} batches sent again"
        )
    for client in clients:
        client.join()
    return kills


def _judge(sent: _Sending, settings: EngineSettings, workspace: Workspace) -> dict[str, Any]:
    with open_engine(settings, workspace) as engine:
        stored = _all(engine.events)
    times = Counter(event.event_id for event in stored)
    ids = {event[c.EVENT_ID] for event in sent.events}
    in_log = differing(counts_of_clients(sent.events), counts_of_log(stored))
    known = counts_of_clients(sent.events, imported=IMPORTED_ORDERS)
    online = differing(known, counts_online(workspace, list(known)))
    return {
        "accepted": sent.accepted,
        "stored": len(stored),
        "lost": len(ids - times.keys()),
        "duplicated": sum(count - 1 for count in times.values()),
        "foreign": len(times.keys() - ids),
        "wrong_counts": in_log + online,
        "faults": sent.faults[:5],
    }


def _all(store: EventStore) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    cursor = BEGINNING
    while True:
        events, cursor = store.read(cursor, _PAGE)
        if not events:
            return found
        found += events


def _engine(redis: RedisServer | None) -> EngineSettings:
    return RedisEngine(kind="redis", url=redis.url) if redis else SqliteEngine()


def _free_port() -> int:
    from serving.environment import free_port

    return free_port()


def _options() -> argparse.Namespace:
    parser = command.parser("durability", __doc__)
    parser.add_argument("--events", type=command.count, default=200_000)
    parser.add_argument("--clients", type=command.count, default=8)
    parser.add_argument("--batch", type=command.count, default=100, help="events in a request")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--engine", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--seed", type=command.at_least(0), default=17)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

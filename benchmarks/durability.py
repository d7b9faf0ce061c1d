"""Durability: events sent while the service is killed again and again; none is lost or doubled.

    python -m benchmarks.durability > durability.json
    python -m benchmarks.durability --engine redis --events 50000

Progress goes to stderr, one JSON object to stdout. Clients send batches over HTTP to the service in
a child process and send each again, with the same event ids, until it was answered with 202. The
service is killed with SIGKILL, a moment after every so many accepted events, and started again;
with `--engine redis` every second kill hits Redis instead. At the end the log is read:

- `accepted`: events that some 202 spoke of; `stored`: events in the log
- `lost`: accepted, not stored; `duplicated`: stored more than once
- `wrong_counts`: subjects whose order count or units, by the feature functions over the log, differ
  from what the clients know was accepted
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import perf_counter, sleep
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd

from benchmarks.event_shop import Service, bodies, made_events, make_shop
from benchmarks.redis_server import RedisServer
from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.events.engine import EngineSettings, RedisEngine, SqliteEngine, open_engine
from qianmian.events.event import StoredEvent
from qianmian.events.store import BEGINNING, EventStore
from qianmian.features.event_log import EventLog
from qianmian.features.user_activity import user_activity
from qianmian.features.user_ledger import user_ledger
from qianmian.workspace import Workspace

_TIMEOUT: Final = 10.0
_WAIT: Final = 0.05  # seconds before a client tries again
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
        redis = None
        if options.engine == "redis":
            redis = RedisServer(home / "redis")
            stack.callback(redis.kill)
        settings = _engine(redis)
        service = Service(home, settings.model_dump(mode="json"), _free_port(), home / "log")
        service.start()
        stack.callback(service.kill)
        sent = _Sending(made_events(options.events, rng, "d"), options.batch, service.port)
        kills = _kill_while(sent, service, redis, options, rng)
        service.stop()
        report = _judge(sent, settings, workspace)
    report |= {"kills": kills, "engine": options.engine, "clients": options.clients}
    report |= {"sent_again": sent.again, "seconds": round(perf_counter() - began, 1)}
    print(json.dumps(report))


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
    sent: _Sending,
    service: Service,
    redis: RedisServer | None,
    options: argparse.Namespace,
    rng: Random,
) -> int:
    """Run the clients to their end; returns how often something was killed."""
    clients = sent.run(options.clients)
    kills = 0
    for number in range(options.kills):
        goal = len(sent.events) * (number + 1) // (options.kills + 1)
        while sent.accepted < goal:
            sleep(0.001)
        sleep(rng.uniform(0, _LATEST_KILL))
        if redis is not None and number % 2:
            redis.kill()
            redis.start()
        else:
            service.kill()
            service.start()
        kills += 1
        _say(f"kill {kills}: {sent.accepted:,} accepted, {sent.again:,} batches sent again")
    for client in clients:
        client.join()
    return kills


def _judge(sent: _Sending, settings: EngineSettings, workspace: Workspace) -> dict[str, Any]:
    with open_engine(settings, workspace) as engine:
        stored = _all(engine.events)
    times = Counter(event.event_id for event in stored)
    ids = {event[c.EVENT_ID] for event in sent.events}
    return {
        "accepted": sent.accepted,
        "stored": len(stored),
        "lost": len(ids - times.keys()),
        "duplicated": sum(count - 1 for count in times.values()),
        "foreign": len(times.keys() - ids),
        "wrong_counts": wrong_counts(sent.events, stored),
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


def wrong_counts(accepted: list[Event], stored: list[StoredEvent]) -> int:
    """Return how many subjects' counts, by the feature functions, are not those of the clients."""
    orders: Counter[str] = Counter()
    units: defaultdict[str, float] = defaultdict(float)
    for event in accepted:
        if event[c.EVENT_TYPE] == EventType.ORDER:
            orders[event[c.USER_ID]] += 1
            units[event[c.USER_ID]] += event[c.QUANTITY]
    rows = pd.DataFrame(
        {
            c.USER_ID: [event.subject_id for event in stored],
            c.ITEM_ID: [event.item_id for event in stored],
            c.EVENT_TYPE: [event.event_type for event in stored],
            c.TIMESTAMP: pd.to_datetime([event.timestamp for event in stored], unit="s", utc=True),
            c.QUANTITY: np.array([event.quantity for event in stored], dtype=float),
            c.VALUE: np.array([event.value for event in stored], dtype=float),
        }
    )
    log = EventLog.build(rows, target=EventType.ORDER, time_zone="UTC")
    later = datetime.now(UTC).timestamp() + 3600.0
    activity = user_activity(log, later).to_pandas().set_index(c.USER_ID)[f.TARGET_COUNT_TOTAL]
    ledger = user_ledger(log, later).to_pandas().set_index(c.USER_ID)[f.LEDGER_QUANTITIES]
    counted = {user: int(count) for user, count in activity.items() if count}
    summed = {user: float(quantities.sum()) for user, quantities in ledger.items()}
    users = counted.keys() | summed.keys() | orders.keys()
    return sum(
        counted.get(user, 0) != orders[user] or summed.get(user, 0.0) != units[user]
        for user in users
    )


def _engine(redis: RedisServer | None) -> EngineSettings:
    return RedisEngine(kind="redis", url=redis.url) if redis else SqliteEngine()


def _free_port() -> int:
    from serving.environment import free_port

    return free_port()


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.durability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=100, help="events in a request")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--engine", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


if __name__ == "__main__":
    main()

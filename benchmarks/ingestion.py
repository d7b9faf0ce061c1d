"""Ingestion: events a second over HTTP into one replica, against a bare loop into SQLite.

    python -m benchmarks.ingestion > ingestion.json

Progress goes to stderr, one JSON object to stdout. The bare loop parses the same JSON bodies,
inserts the events into a SQLite table with the event id as key, and syncs once a batch
(`synchronous=FULL`, WAL): no validation, no HTTP, one thread. Rounds alternate between the two; the
figures are medians over the rounds, so the ratio is one of the same minutes on the same disk.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import orjson

from benchmarks import command
from benchmarks.event_shop import Service, bodies, made_events, make_shop
from benchmarks.redis_server import RedisServer
from qianmian.contracts import columns as c
from serving.environment import free_port

_COLUMNS = (
    *(c.EVENT_ID, c.EVENT_TYPE, c.TIMESTAMP, c.USER_ID, c.ITEM_ID, c.SESSION_ID, c.BLOCK_ID),
    *(c.POSITION, c.QUANTITY, c.VALUE, c.CURRENCY, c.ORDER_ID),
)


def main() -> None:
    """Measure and print."""
    options = _options()
    rng = Random(options.seed)
    bare: list[float] = []
    served: list[dict[str, float]] = []
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qm")))
        make_shop(home)
        engine: dict[str, Any] = {"kind": "sqlite"}
        if options.engine == "redis":
            redis = RedisServer(home / "redis")
            stack.callback(redis.kill)
            engine = {"kind": "redis", "url": redis.url}
        service = Service(home, engine, free_port(), home / "log")
        service.start()
        stack.callback(service.stop)
        _over_http(service, bodies(made_events(5_000, rng, "warm"), options.batch), options)
        for number in range(options.rounds):
            given = bodies(made_events(options.events, rng, f"r{number}"), options.batch)
            bare.append(options.events / _bare(home / f"bare{number}.db", given))
            served.append(_over_http(service, given, options))
            rate = served[-1]["rps"] * options.batch
            command.say(f"round {number + 1}: bare {bare[-1]:,.0f}, HTTP {rate:,.0f} events/s")
    rates = [one["rps"] * options.batch for one in served]
    report = {
        "http_events_per_s": round(median(rates)),
        "bare_events_per_s": round(median(bare)),
        "ratio": round(median(rates) / median(bare), 3),
        "http_p50_ms": median(one["p50_ms"] for one in served),
        "http_p99_ms": median(one["p99_ms"] for one in served),
        "errors": sum(one["errors"] for one in served),
        "engine": options.engine,
        "batch": options.batch,
        "connections": options.connections,
        "rounds": options.rounds,
    }
    command.report(report)


def _bare(path: Path, given: Sequence[bytes]) -> float:
    """Parse, insert, sync; returns the seconds."""
    marks = ", ".join("?" * len(_COLUMNS))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    columns = ", ".join(_COLUMNS[1:])
    connection.execute(f"CREATE TABLE events ({c.EVENT_ID} TEXT PRIMARY KEY, {columns})")
    insert = f"INSERT OR IGNORE INTO events VALUES ({marks})"  # noqa: S608 - names of columns
    began = perf_counter()
    for body in given:
        events = orjson.loads(body)["events"]
        connection.execute("BEGIN")
        connection.executemany(insert, [[event.get(name) for name in _COLUMNS] for event in events])
        connection.execute("COMMIT")
    seconds = perf_counter() - began
    connection.close()
    return seconds


def _over_http(
    service: Service, given: Sequence[bytes], options: argparse.Namespace
) -> dict[str, float]:
    """Send every body once; returns what the load generator saw."""
    load = [
        *(sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(service.port), "/v1/events"),
        *("--connections", str(options.connections)),
    ]
    done = subprocess.run(load, input=b"\n".join(given), capture_output=True, check=True)
    result: dict[str, float] = orjson.loads(done.stdout)
    return result


def _options() -> argparse.Namespace:
    parser = command.parser("ingestion", __doc__)
    parser.add_argument("--events", type=command.count, default=30_000, help="in each round")
    parser.add_argument("--batch", type=command.count, default=100, help="events in a request")
    parser.add_argument("--connections", type=command.count, default=32)
    parser.add_argument("--rounds", type=command.count, default=5)
    parser.add_argument("--engine", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--seed", type=command.at_least(0), default=17)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

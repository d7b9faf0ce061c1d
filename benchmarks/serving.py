"""Serving: what a page costs in the request path, over HTTP, and against a no-op app.

    python -m benchmarks.serving > serving.json

Progress goes to stderr, one JSON object to stdout. Needs a promoted release (`make demo` makes
one). A no-op app stands behind the same ingress in the same run, so the ratio tells what the
request path itself costs on this machine; rounds alternate between the two. Load comes from a
process of its own, over loopback, with many different shoppers.

`http_rps`, `noop_rps`, `http_p50_ms`, `http_p99_ms` and `pipeline_p50_ms` are keyed by concurrency.
`pipeline` is the request path in this process, body to body, without HTTP: at 16, sixteen tasks
take turns on one event loop, as requests do in a replica.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks import command

#: Settings that slow numpy down; dropped before numpy is imported.
SLOWING: Final = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
CONCURRENCY: Final = (1, 16)
NOOP_PATH: Final = "/noop"

Report = dict[str, Any]
Serve = Callable[[bytes], bytes]


def main() -> None:
    """Measure and print."""
    options = _options()
    for name in SLOWING:
        os.environ.pop(name, None)
    from serving.environment import free_port, prepare

    port = free_port()
    prepare(port)
    from qianmian.releases.store import ReleaseStore
    from serving.clock import ClockSettings
    from serving.launch import SERVE_FILE, ServeFile

    file = ServeFile.read(SERVE_FILE).changed(
        args={"home": str(options.home), "dataset": options.dataset},
        http={"host": "127.0.0.1", "port": port},
        replicas=options.replicas,
    )
    manifest = ReleaseStore(file.settings.workspace().releases).get(file.live.feed.release)
    moment = manifest.data_end + timedelta(days=1)
    file = file.changed(clock=ClockSettings(mode="fixed", at=moment))
    venue, bodies, pipeline = measure_pipeline(file, options)
    http = measure_http(file, venue, bodies, options)
    report = {
        **http,
        "pipeline_cold_p50_ms": pipeline.pop("cold"),
        "pipeline_p50_ms": pipeline,
        "release": manifest.id,
        "dataset": options.dataset,
        "venue": venue,
        "users": len(bodies),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "replicas": options.replicas,
    }
    command.report(report)


def measure_pipeline(file: Any, options: argparse.Namespace) -> tuple[str, list[bytes], Report]:
    """Return the venue asked, a body for each shopper, and the p50 of the path by concurrency."""
    import orjson

    from qianmian.contracts.api import RECOMMEND_REQUEST
    from qianmian.contracts.columns import USER_ID
    from qianmian.data.store import Dataset
    from serving.service import VenueService

    command.say("opening the service in this process")
    service = VenueService.open(file.settings, file.live)
    known = Dataset.open(file.settings.workspace()).train_events([USER_ID])[USER_ID]
    users = sorted(known.unique().astype(str))[: options.users]
    venue = options.venue if options.venue in service.book.venues else "all"
    bodies = [
        orjson.dumps({"user": {"id": user}, "blocks": [{"page_size": options.page_size}]})
        for user in users
    ]

    def serve(body: bytes) -> bytes:
        return service.respond(venue, RECOMMEND_REQUEST.validate_json(body))

    command.say(f"pipeline: {len(users)} shoppers of venue {venue}")
    cold = [_timed(serve, body) for body in bodies]
    p50 = {
        str(n): asyncio.run(_pipeline_p50(serve, bodies, n, options.seconds)) for n in CONCURRENCY
    }
    p50["cold"] = round(median(cold) * 1e3, 3)
    return venue, bodies, p50


def _timed(serve: Serve, body: bytes) -> float:
    began = perf_counter()
    serve(body)
    return perf_counter() - began


async def _pipeline_p50(serve: Serve, bodies: list[bytes], tasks: int, seconds: float) -> float:
    latencies: list[float] = []
    upcoming: Iterator[bytes] = iter(bodies * 1000)
    deadline = perf_counter() + seconds

    async def one() -> None:
        while perf_counter() < deadline:
            began = perf_counter()
            await asyncio.sleep(0)  # wait for the event loop, as an arriving request does
            serve(next(upcoming))
            latencies.append(perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(tasks)))
    return round(median(latencies) * 1e3, 3)


def measure_http(file: Any, venue: str, bodies: list[bytes], options: argparse.Namespace) -> Report:
    """Return what was measured over HTTP, the no-op app beside the service."""
    import httpx
    from ray import serve

    from benchmarks.noop import Noop
    from serving import cluster

    path = f"/v1/venues/{venue}:recommend"
    command.say("starting Ray Serve")
    with cluster.running(file, cpus=2 * options.replicas) as url:
        noop = Noop.options(num_replicas=options.replicas)
        serve.run(noop.bind(), name="noop", route_prefix=NOOP_PATH)
        command.say("cold: every shopper once")
        cold = _load(file, path, bodies, 1, None)
        command.say("warming: every replica meets every shopper")
        for _ in range(2 * options.replicas):
            _load(file, path, bodies, CONCURRENCY[-1], None)
        _load(file, NOOP_PATH, bodies, CONCURRENCY[-1], None)
        before = _cache(httpx.get(f"{url}/metrics").text)
        rounds: dict[tuple[str, int], list[Report]] = {}
        for number in range(options.rounds):
            for name, where in (("noop", NOOP_PATH), ("http", path)):
                for connections in CONCURRENCY:
                    got = _load(file, where, bodies, connections, options.seconds)
                    rounds.setdefault((name, connections), []).append(got)
                    command.say(
                        f"round {number + 1}, {name}, {connections}: {got['rps']:.0f} requests/s"
                    )
        after = _cache(httpx.get(f"{url}/metrics").text)
    hits, misses = after["hit"] - before["hit"], after["miss"] - before["miss"]
    report: Report = {}
    for name in ("http", "noop"):
        for value, key in (("rps", "rps"), ("p50_ms", "p50_ms"), ("p99_ms", "p99_ms")):
            report[f"{name}_{key}"] = {
                str(n): round(median(got[value] for got in rounds[name, n]), 3) for n in CONCURRENCY
            }
    report["ratio"] = {
        n: round(rps / report["noop_rps"][n], 3) for n, rps in report["http_rps"].items()
    }
    report["user_cache_hit_rate"] = round(hits / max(hits + misses, 1), 4)
    report["cold_http_p50_ms"], report["cold_http_p99_ms"] = cold["p50_ms"], cold["p99_ms"]
    return report


def _load(
    file: Any, path: str, bodies: list[bytes], connections: int, seconds: float | None
) -> Report:
    load = [sys.executable, "-m", "benchmarks.load", file.host, str(file.port), path]
    load += ["--connections", str(connections)]
    load += [] if seconds is None else ["--seconds", str(seconds)]
    done = subprocess.run(
        load, input=b"\n".join(bodies), capture_output=True, check=False, timeout=300
    )
    if done.returncode:
        sys.exit(f"the load generator failed: {done.stderr.decode().strip()}")
    report: Report = json.loads(done.stdout)
    if report["errors"]:
        sys.exit(
            f"{report['errors']:.0f} of {report['requests']:.0f} answers of {path} were not 200"
        )
    return report


def _cache(metrics: str) -> dict[str, float]:
    name = "qianmian_user_cache_lookups{outcome="
    lines = [line for line in metrics.splitlines() if line.startswith(name)]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def _options() -> argparse.Namespace:
    parser = command.parser("serving", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--venue", default="18", help="a venue the data set lacks becomes `all`")
    parser.add_argument("--users", type=command.count, default=1000)
    parser.add_argument("--page-size", type=command.count, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument(
        "--replicas",
        type=command.count,
        default=os.cpu_count(),
        help="of the service, and of the no-op app",
    )
    parser.add_argument("--rounds", type=command.count, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

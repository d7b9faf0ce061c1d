"""Freshness: how soon a page knows what a shopper just did.

    python -m benchmarks.freshness > freshness.json

Starts the real service (`qianmian serve`, with its stream process) on a copy of the data set's
online store, one engine after the other, puts it under a steady load of pages and events, and
probes: an order is sent to `POST /v1/events`; from its 202 on, the shopper's page is asked for
until it counts the ordered item among the shopper's own. Half of the probes are shoppers with a
year of history, half are new. Prints one JSON object:

    {engine: {p50_ms, p99_ms, probes, late, load: {...}}, ..., machine}

`--service asgi` measures the same app under uvicorn beside a stream process of its own, without
Ray. `late` probes are those that no answer reflected within ten seconds; they count as that long.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import command
from benchmarks.freshness.load import loaded
from benchmarks.freshness.probes import LATE_SECONDS, probe_all
from benchmarks.freshness.service import config_file, copied, started
from benchmarks.freshness.shop import Json, Shop
from benchmarks.redis_server import RedisServer
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from serving.environment import free_port

ENGINES: Final = ("sqlite", "redis")


def main() -> None:
    """Measure and print."""
    options = _options()
    report = {engine: measure(engine, options) for engine in options.engines}
    command.report(report)


def measure(engine: str, options: argparse.Namespace) -> Json:
    """Return what the probes of one engine gave."""
    source = Workspace(options.home, options.dataset)
    ReleaseStore(source.releases).get("live")  # says what is missing
    with (
        tempfile.TemporaryDirectory(prefix="qianmian-freshness-") as folder,
        contextlib.ExitStack() as stack,
    ):
        workspace = copied(source, Path(folder))
        settings: Json = {"kind": engine}
        if engine == "redis":
            settings["url"] = stack.enter_context(_redis(Path(folder) / "redis"))
        port = free_port()
        config = config_file(Path(folder), workspace, settings, port, options.replicas)
        command.say(f"{engine}: starting the service")
        service = stack.enter_context(started(config, workspace, options.service))
        shop = Shop.read(workspace, port, options.venue)
        shop.wait(service)
        load = stack.enter_context(loaded(shop, options))
        time.sleep(options.warm_up)
        command.say(f"{engine}: {options.probes} probes")
        seconds = sorted(probe_all(shop, options))
        return {
            "p50_ms": round(seconds[len(seconds) // 2] * 1e3, 1),
            "p99_ms": round(seconds[min(int(len(seconds) * 0.99), len(seconds) - 1)] * 1e3, 1),
            "probes": len(seconds),
            "late": sum(one >= LATE_SECONDS for one in seconds),
            "service": options.service,
            "load": load.summary(),
        }


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = RedisServer(folder)
    try:
        yield server.url
    finally:
        server.kill(signal.SIGTERM)


def _options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command.parser("freshness", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--venue", default="18", help="whose pages are asked for")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--service", choices=("ray", "asgi"), default="ray")
    parser.add_argument("--probes", type=command.count, default=2000)
    parser.add_argument(
        "--probers", type=command.count, default=2, help="probes under way at a time"
    )
    parser.add_argument("--pages-per-second", type=float, default=30.0, help="of the load")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds of load before")
    parser.add_argument("--replicas", type=command.count)
    return parser.parse_args(argv)


if __name__ == "__main__":
    command.run(main)

"""How fast a change of a venue file, a fault in one, and a change of stock reach every replica.

    python -m benchmarks.venue_changes --replicas 2 --rounds 5

Starts replicas of the service as processes of their own on one engine, asks each of them for pages
without a pause, and meanwhile changes a venue's file, breaks it, and pushes stock. Measured is the
time from the write, or from the answer to the push, until every replica answers accordingly, and
how many requests failed meanwhile. Needs a promoted release (`make demo` makes one).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks import command
from qianmian.workspace import CONFIGS
from serving.environment import free_port

CLOCK = "2017-12-05T12:00:00"
SEGMENTS = ("income", "age")  # by turns, so that each change lays the whole pool out anew
PATIENCE = 30.0  # seconds until a round counts as failed
WAIT = 0.005


def main() -> None:
    """Run the benchmark, or one replica of it."""
    options = _options()
    if options.replica:
        _serve(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        configs = Path(folder) / "configs"
        shutil.copytree(CONFIGS, configs)
        with _replicas(options, configs, Path(folder) / "engine") as urls:
            result = _measure(options, configs, urls)
    command.report(result)


def _measure(options: argparse.Namespace, configs: Path, urls: list[str]) -> dict[str, Any]:
    path = configs / "venues" / options.dataset / f"{options.venue}.yaml"
    sound = path.read_text() if path.exists() else "name: V\n"
    taken, refused, stock = [], [], []
    with _load(urls, options.venue) as load, httpx.Client(timeout=10) as client:

        def kind(url: str) -> str:
            shown: str = _page(client, url, options)["venue"]["kind"]
            return shown

        def faulty(url: str) -> bool:
            return bool(client.get(f"{url}/readyz").json()["venue_files_refused"])

        for number in range(options.rounds):
            now = f"round {number}"
            laid_out_anew = sound.replace("segment: age", f"segment: {SEGMENTS[number % 2]}")
            path.write_text(f"{laid_out_anew}kind: {now}\n")
            taken.append(_until_all(urls, lambda url: kind(url) == now))  # noqa: B023  within it
            path.write_text(f"{sound}eligibilty: {{}}\n")
            refused.append(_until_all(urls, faulty))
            if (still := {kind(url) for url in urls}) != {now}:
                raise SystemExit(f"a broken file changed what is served: {still}")
            path.write_text(f"{laid_out_anew}kind: {now}\n")
            _until_all(urls, lambda url: not faulty(url))
            item = _page(client, urls[0], options)["blocks"][0]["items"][0]["item_id"]
            rows = [{"item_id": item, "stock": 0}]
            client.post(f"{urls[0]}/v1/inventory", json={"rows": rows}).raise_for_status()
            stock.append(_until_all(urls, lambda url: item not in _items(client, url, options)))  # noqa: B023
            seconds = f"file {taken[-1]:.2f} s, fault {refused[-1]:.2f} s, stock {stock[-1]:.3f} s"
            command.say(f"{now}: {seconds}")
    return {
        "benchmark": "venue_changes",
        "replicas": len(urls),
        "rounds": options.rounds,
        "file_taken_seconds": _told(taken),
        "fault_told_seconds": _told(refused),
        "stock_seconds": _told(stock),
        "requests": load.asked,
        "failed": load.failed,
    }


def _told(seconds: list[float]) -> dict[str, float]:
    return {"median": round(median(seconds), 3), "max": round(max(seconds), 3)}


def _until_all(urls: list[str], holds: Callable[[str], bool]) -> float:
    """Return the seconds until something holds at every replica."""
    began = time.perf_counter()
    left = list(urls)
    while left:
        left = [url for url in left if not holds(url)]
        if time.perf_counter() - began > PATIENCE:
            raise SystemExit(f"not within {PATIENCE:g} s at {left}")
        time.sleep(WAIT)
    return time.perf_counter() - began


def _page(client: httpx.Client, url: str, options: argparse.Namespace) -> dict[str, Any]:
    answer = client.post(f"{url}/v1/venues/{options.venue}:recommend", json={})
    answer.raise_for_status()
    page: dict[str, Any] = answer.json()
    return page


def _items(client: httpx.Client, url: str, options: argparse.Namespace) -> set[str]:
    return {item["item_id"] for item in _page(client, url, options)["blocks"][0]["items"]}


class _Load:
    """Asks every replica for pages until it is stopped."""

    def __init__(self, urls: list[str], venue: str) -> None:
        self.asked = self.failed = 0
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(u, venue)) for u in urls]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, url: str, venue: str) -> None:
        with httpx.Client(timeout=10) as client:
            while not self._stop.wait(WAIT):
                try:
                    good = client.post(f"{url}/v1/venues/{venue}:recommend", json={}).is_success
                except httpx.HTTPError:
                    good = False
                with self._counting:
                    self.asked += 1
                    self.failed += not good


@contextmanager
def _load(urls: list[str], venue: str) -> Iterator[_Load]:
    load = _Load(urls, venue)
    load.start()
    try:
        yield load
    finally:
        load.stop()


@contextmanager
def _replicas(options: argparse.Namespace, configs: Path, engine: Path) -> Iterator[list[str]]:
    """Run the replicas; yields their URLs once all are ready."""
    ports = [free_port() for _ in range(options.replicas)]
    replica = [sys.executable, "-W", "ignore", "-m", "benchmarks.venue_changes"]
    replica += ["--configs", str(configs), "--engine", str(engine)]
    replica += ["--dataset", options.dataset, "--home", str(options.home)]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([*replica, "--replica", str(port)], env={**os.environ, **threads})
        for port in ports
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        with httpx.Client(timeout=10) as client:
            for url in urls:
                _await_ready(client, url, running)
        yield urls
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait()


def _await_ready(client: httpx.Client, url: str, running: list[subprocess.Popen[bytes]]) -> None:
    while True:
        if any(one.poll() is not None for one in running):
            raise SystemExit("a replica did not start")
        try:
            if client.get(f"{url}/readyz").status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)


def _serve(options: argparse.Namespace) -> None:
    """Run one replica in this process."""
    import uvicorn

    from serving.clock import parse_clock
    from serving.http import build_app
    from serving.launch import SERVE_FILE, ServeFile
    from serving.service import VenueService

    file = ServeFile.read(SERVE_FILE).changed(
        args={
            "home": str(options.home),
            "dataset": options.dataset,
            "configs": str(options.configs),
            "engine": {"kind": "sqlite", "folder": str(options.engine)},
            "decision_log": {"enabled": False},
        },
        clock=parse_clock(CLOCK),
    )
    service = VenueService.open(file.settings, file.live)
    uvicorn.run(build_app(service), port=options.replica, log_level="error", access_log=False)


def _options() -> argparse.Namespace:
    parser = command.parser("venue_changes", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--venue", default="18")
    parser.add_argument("--replicas", type=command.count, default=2)
    parser.add_argument("--rounds", type=command.count, default=5)
    for name in ("--replica", "--configs", "--engine"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.replica = int(options.replica) if options.replica else None
    return options


if __name__ == "__main__":
    command.run(main)

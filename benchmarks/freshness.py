"""Freshness: how soon a page knows what a shopper just did.

    python -m benchmarks.freshness > freshness.json

Starts the real service (`qianmian serve`, with its stream process) on a copy of the data set's
online store, one engine after the other, puts it under a steady load of pages and events, and
probes: an order is sent to `POST /v1/events`; from its 202 on, the shopper's page is asked for
until it counts the ordered item among the shopper's own. Half of the probes are shoppers with a
year of history, half are new. Prints one JSON object:

    {engine: {p50_ms, p99_ms, probes, late, load: {...}}}

`--service asgi` measures the same app under uvicorn beside a stream process of its own, without
Ray. `late` probes are those that no answer reflected within ten seconds; they count as that long.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks import mistakes
from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.releases.store import ReleaseStore
from qianmian.retrieval.sources import REPEAT, SourceQuotas
from qianmian.workspace import DEFAULT_DATASET, Workspace
from serving.environment import free_port
from serving.launch import SERVE_FILE, ServeFile

LATE_SECONDS: Final = 10.0
START_SECONDS: Final = 240.0
ASK_EVERY: Final = 0.01
#: Of the shopper's own items, in an arm of an experiment that may lower the quota.
_SMALL_QUOTA: Final = 5
ENGINES: Final = ("sqlite", "redis")

Json = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.asgi:
        _serve_asgi(options.asgi)
        return
    report = {engine: measure(engine, options) for engine in options.engines}
    print(json.dumps(report, indent=2))


def measure(engine: str, options: argparse.Namespace) -> Json:
    """Return what the probes of one engine gave."""
    source = Workspace(options.home, options.dataset)
    with (
        tempfile.TemporaryDirectory(prefix="qianmian-freshness-") as folder,
        contextlib.ExitStack() as stack,
    ):
        workspace = _copy(source, Path(folder))
        settings: Json = {"kind": engine}
        if engine == "redis":
            settings["url"] = stack.enter_context(_redis(Path(folder)))
        port = free_port()
        config = _config(Path(folder), workspace, settings, port, options.replicas)
        _say(f"{engine}: starting the service")
        service = stack.enter_context(_service(config, workspace, options.service))
        shop = _Shop.read(workspace, port, options.venue)
        shop.wait(service)
        load = stack.enter_context(_loaded(shop, options))
        time.sleep(options.warm_up)
        _say(f"{engine}: {options.probes} probes")
        seconds = sorted(_probe_all(shop, options))
        return {
            "p50_ms": round(seconds[len(seconds) // 2] * 1e3, 1),
            "p99_ms": round(seconds[min(int(len(seconds) * 0.99), len(seconds) - 1)] * 1e3, 1),
            "probes": len(seconds),
            "late": sum(one >= LATE_SECONDS for one in seconds),
            "service": options.service,
            "load": load.summary(),
        }


# -- probes -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Shop:
    """The service as a client sees it, and whom to probe with what."""

    port: int
    users: list[str]
    pool: list[str]
    owned: dict[str, set[str]]
    venue: str
    shift: float = 0.0  # from the machine's clock to the service's

    @classmethod
    def read(cls, workspace: Workspace, port: int, venue: str) -> _Shop:
        dataset = Dataset.open(workspace)
        pools = dataset.venue_items()
        orders = dataset.events([c.USER_ID, c.ITEM_ID])
        if pools is None:
            message = "the data set has no venues: freshness needs a venue's pool"
            raise SystemExit(message)
        pool = sorted(set(pools[pools[c.VENUE_ID] == venue][c.ITEM_ID].astype(str)))
        sold = set(orders[c.ITEM_ID].astype(str).value_counts().head(20_000).index)
        held = orders[orders[c.ITEM_ID].isin(pool)]
        owned = {
            str(user): set(items.astype(str))
            for user, items in held.groupby(c.USER_ID, observed=True)[c.ITEM_ID]
        }
        users = sorted(orders[c.USER_ID].astype(str).unique())
        return cls(port, users, [item for item in pool if item in sold], owned, venue)

    def wait(self, service: list[subprocess.Popen[bytes]]) -> None:
        """Wait until pages are answered and the stream works in events."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, KeyError):
                client = _Client(self.port)
                status, ready = client.get("/readyz")
                if status == 200 and ready.get("stream") == "running":  # noqa: PLR2004
                    at = datetime.fromisoformat(ready["now"]).timestamp()
                    self.shift = at - time.time()
                    return
            if any(child.poll() is not None for child in service):
                message = "the service ended before it was ready, see above"
                raise SystemExit(message)
            if time.monotonic() > deadline:
                message = f"the service was not ready within {START_SECONDS:.0f} s"
                raise SystemExit(message)
            time.sleep(0.5)

    def now(self) -> str:
        """Return the service's time."""
        return datetime.fromtimestamp(time.time() + self.shift, tz=UTC).isoformat()


class _Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> tuple[int, Json]:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Json) -> tuple[int, Json]:
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, Json]:
        for last in (False, True):
            try:
                self._connection.request(method, path, body, {"content-type": "application/json"})
                response = self._connection.getresponse()
                text = response.read()
                known = response.headers.get_content_type().endswith("json")
                return response.status, json.loads(text) if known else {}
            except (http.client.HTTPException, ConnectionError):
                self._connection.close()  # the ingress closed it between two requests
                if last:
                    raise
        raise AssertionError


def _probe_all(shop: _Shop, options: argparse.Namespace) -> list[float]:
    """Probe until so many were answered; shoppers whose page cannot show it are passed over."""
    seconds: list[float] = []
    upcoming = count()
    lock = threading.Lock()

    def work(number: int) -> None:
        client, rng = _Client(shop.port), random.Random(number)
        while True:
            with lock:
                if len(seconds) >= options.probes:
                    return
                probe = next(upcoming)
            user = rng.choice(shop.users) if probe % 2 else f"new-shopper-{probe}"
            took = _probe(client, shop, user, f"probe-{os.getpid()}-{probe}", rng)
            if took is None:
                continue
            with lock:
                seconds.append(took)
                if len(seconds) % 200 == 0:
                    _say(f"{len(seconds)} probes")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(options.probers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds[: options.probes]


def _probe(
    client: _Client, shop: _Shop, user: str, event_id: str, rng: random.Random
) -> float | None:
    """Order something and wait until the page knows; None where the page cannot show it."""
    owned = shop.owned.setdefault(user, set())
    before, quota = _own_items(client, shop, user)
    if before >= quota - 1:
        return None
    item = rng.choice([one for one in rng.choices(shop.pool, k=50) if one not in owned])
    owned.add(item)
    event = _event(shop, event_id, "order", user, item, value=2.0, quantity=1.0)
    status, answer = client.post("/v1/events", {"events": [event]})
    began = time.perf_counter()
    if status != 202 or answer["accepted"] != 1:  # noqa: PLR2004
        message = f"an event was not accepted: {status} {answer}"
        raise SystemExit(message)
    while True:
        known, _ = _own_items(client, shop, user)
        took = time.perf_counter() - began
        if known > before:
            return took
        if took >= LATE_SECONDS:
            _say(f"late: {user} {item} {before}")
            return LATE_SECONDS
        time.sleep(ASK_EVERY)


def _own_items(client: _Client, shop: _Shop, user: str) -> tuple[int, int]:
    """Return how many of the shopper's own items are candidates of the page, and the most."""
    body = {
        "user": {"id": user},
        "blocks": [{"page_size": 10}],
        "params": {"explain": True},
    }
    status, answer = client.post(f"/v1/venues/{shop.venue}:recommend", body)
    if status != 200:  # noqa: PLR2004 - too busy: the time goes on
        return 0, 0
    found: int = answer["blocks"][0]["explain"]["candidates"].get(REPEAT, 0)
    arms = {arm["arm"] for arm in answer["experiments"]}
    return found, _SMALL_QUOTA if arms - {"control"} else SourceQuotas().repeat


def _event(shop: _Shop, event_id: str, kind: str, user: str, item: str, **more: Any) -> Json:
    return {
        "event_id": event_id,
        "event_type": kind,
        "timestamp": shop.now(),
        "user_id": user,
        "item_id": item,
        "venue_id": shop.venue,
        **more,
    }


# -- load -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Load:
    """Pages at a steady rate; each is followed by its impressions, and now and then a click."""

    shop: _Shop
    pages_per_second: float
    stopping: threading.Event = field(default_factory=threading.Event)
    pages: int = 0
    events: int = 0
    behind: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self, number: int, workers: int) -> None:
        client, rng = _Client(self.shop.port), random.Random(1000 + number)
        every = workers / self.pages_per_second
        due = time.monotonic() + every * number / workers
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            self.behind += time.monotonic() - due > 1.0
            due = max(due + every, time.monotonic() - 1.0)
            self._visit(client, rng, f"load-{os.getpid()}-{number}-{self.pages}")

    def _visit(self, client: _Client, rng: random.Random, name: str) -> None:
        user = rng.choice(self.shop.users)
        body = {"user": {"id": user}, "blocks": [{"page_size": 10}]}
        status, page = client.post(f"/v1/venues/{self.shop.venue}:recommend", body)
        if status != 200:  # noqa: PLR2004
            return
        self.pages += 1
        token, shown = page["attribution_token"], page["blocks"][0]["items"]
        events = [
            _event(
                self.shop, f"{name}-{place}", "impression", user, item["item_id"],
                position=item["position"], attribution_token=token,
            )
            for place, item in enumerate(shown)
        ]  # fmt: skip
        if shown and rng.random() < 0.2:  # noqa: PLR2004
            item = rng.choice(shown)["item_id"]
            events.append(_event(self.shop, f"{name}-c", "click", user, item))
        status, _ = client.post("/v1/events", {"events": events})
        self.events += len(events) if status == 202 else 0  # noqa: PLR2004

    def summary(self) -> Json:
        elapsed = time.monotonic() - self.began
        return {
            "pages_per_second": round(self.pages / elapsed, 1),
            "events_per_second": round(self.events / elapsed, 1),
            "late_pages": self.behind,
        }


@contextlib.contextmanager
def _loaded(shop: _Shop, options: argparse.Namespace) -> Iterator[_Load]:
    load, workers = _Load(shop, options.pages_per_second), 4
    threads = [
        threading.Thread(target=load.run, args=(n, workers), daemon=True) for n in range(workers)
    ]
    if options.pages_per_second > 0:
        for thread in threads:
            thread.start()
    try:
        yield load
    finally:
        load.stopping.set()


# -- the service ------------------------------------------------------------------------------


@contextlib.contextmanager
def _service(
    config: Path, workspace: Workspace, kind: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    qianmian = [sys.executable, "-m", "qianmian.cli.main", "--home", str(workspace.root)]
    qianmian += ["--dataset", workspace.dataset]
    if kind == "ray":
        commands = [[*qianmian, "serve", "--config", str(config)]]
    else:
        commands = [
            [sys.executable, "-m", "benchmarks.freshness", "--asgi", str(config)],
            [*qianmian, "stream", "--config", str(config)],
        ]
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("OPENBLAS_CORETYPE", None)
    children = [
        subprocess.Popen(command, stdout=sys.stderr, env=environment) for command in commands
    ]
    try:
        yield children
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()


def _serve_asgi(config: Path) -> None:
    import uvicorn

    from serving.http import build_app
    from serving.service import VenueService

    file = ServeFile.read(config)
    service = VenueService.open(file.settings, file.live)
    uvicorn.run(build_app(service), host=file.host, port=file.port, log_level="warning")


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--dir", str(folder), "--appendonly", "yes",
         "--appendfsync", "always", "--save", ""],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(30)


def _config(
    folder: Path, workspace: Workspace, engine: Json, port: int, replicas: int | None
) -> Path:
    """Write a config file: the shipped one, with this folder, engine and port."""
    live = ReleaseStore(workspace.releases).get("live")
    at = live.data_end + timedelta(days=1)
    file = ServeFile.read(SERVE_FILE).changed(
        args={"home": str(workspace.root), "dataset": workspace.dataset, "engine": engine},
        http={"host": "127.0.0.1", "port": port},
        replicas=replicas,
    )
    deployment = file.raw["applications"][0]["deployments"][0]
    deployment["user_config"]["clock"] = {"mode": "replay", "at": at.isoformat()}
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(file.raw), encoding="utf-8")
    return path


def _copy(source: Workspace, folder: Path) -> Workspace:
    """A workspace that shares what is only read, with an online store of its own."""
    copy = Workspace(folder / "home", source.dataset)
    copy.features.mkdir(parents=True)
    for path in source.features.glob("*.json"):
        shutil.copy(path, copy.features)
    shutil.copytree(source.feast, copy.feast)
    for name in ("data", "releases"):
        (copy.path / name).symlink_to((source.path / name).resolve())
    return copy


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness", description=__doc__)
    home = Path(os.environ.get("QIANMIAN_HOME", "var"))
    parser.add_argument("--home", type=Path, default=home)
    parser.add_argument("--dataset", default=DEFAULT_DATASET)
    parser.add_argument("--venue", default="18", help="whose pages are asked for")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--service", choices=("ray", "asgi"), default="ray")
    parser.add_argument("--probes", type=int, default=2000)
    parser.add_argument("--probers", type=int, default=2, help="probes under way at a time")
    parser.add_argument("--pages-per-second", type=float, default=30.0, help="of the load")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds of load before")
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--asgi", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    with mistakes.told():
        main()

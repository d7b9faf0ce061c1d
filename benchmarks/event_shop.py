"""A small shop to send events to: a data set, event bodies, and the service in a child process.

Shared by `benchmarks.ingestion` and `benchmarks.durability`. The service is the real ASGI app under
uvicorn, without a release: it takes events and answers no pages.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any, Final

import orjson

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.workspace import Workspace

DATASET: Final = "event-shop"
USERS, ITEMS = 2_000, 1_000
#: Of each shopper, each of one unit.
IMPORTED_ORDERS: Final = 1
_TYPES: Final = (EventType.IMPRESSION, EventType.CLICK, EventType.CART, EventType.ORDER)
_WEIGHTS: Final = (60, 25, 5, 10)
_BOOT_SECONDS: Final = 120.0


def make_shop(home: Path) -> Workspace:
    """Import a data set of some orders, so that items and users are known."""
    import pandas as pd

    from qianmian.data.importing import import_source
    from qianmian.data.source import find_source

    folder = home / "source"
    folder.mkdir(parents=True)
    start = datetime.now(UTC) - timedelta(days=60)
    rows = USERS * IMPORTED_ORDERS
    pd.DataFrame(
        {
            c.USER_ID: [f"u{n % USERS}" for n in range(rows)],
            c.ITEM_ID: [f"i{n % ITEMS}" for n in range(rows)],
            c.EVENT_TYPE: [str(EventType.ORDER)] * rows,
            c.TIMESTAMP: [start + timedelta(minutes=30 * n) for n in range(rows)],
            c.VALUE: [2.0] * rows,
        }
    ).to_parquet(folder / c.EVENTS_FILE)
    workspace = Workspace(home, DATASET)
    import_source(find_source(str(folder), DATASET), workspace, lambda _: None)
    return workspace


def build_features(workspace: Workspace) -> None:
    """Build the data set's features and fill the online store, for the stream to go on from."""
    from qianmian.data.store import Dataset
    from qianmian.features.snapshots import build
    from qianmian.features.store import FeatureRepo

    dataset = Dataset.open(workspace)
    last = dataset.spec.split.train_end.timestamp()
    build(workspace, dataset, [last])
    FeatureRepo.open(workspace).materialize(last)


def made_events(count: int, rng: Random, prefix: str) -> list[dict[str, Any]]:
    """Return events of the last hour, as a client would send them."""
    now = datetime.now(UTC)
    events = []
    for number in range(count):
        kind = rng.choices(_TYPES, _WEIGHTS)[0]
        moment = now - timedelta(seconds=rng.uniform(0, 3600))
        event = {
            c.EVENT_ID: f"{prefix}-{number:07d}-{rng.getrandbits(48):012x}",
            c.EVENT_TYPE: str(kind),
            c.TIMESTAMP: moment.isoformat(timespec="milliseconds"),
            c.USER_ID: f"u{rng.randrange(USERS)}",
            c.ITEM_ID: f"i{rng.randrange(ITEMS)}",
            c.SESSION_ID: f"s{rng.getrandbits(32):08x}",
            c.BLOCK_ID: "main",
            c.POSITION: rng.randint(1, 40),
        }
        if kind is EventType.ORDER:
            event |= {c.QUANTITY: rng.randint(1, 3), c.VALUE: round(rng.uniform(1, 90), 2)}
            event |= {c.CURRENCY: "EUR", c.ORDER_ID: f"o{rng.getrandbits(40):010x}"}
        events.append(event)
    return events


def bodies(events: list[dict[str, Any]], size: int) -> list[bytes]:
    """Return request bodies of `size` events each."""
    return [orjson.dumps({"events": events[at : at + size]}) for at in range(0, len(events), size)]


class _Child:
    """A process of the shop, to be killed and started again."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it with SIGKILL: no handler runs, nothing is flushed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


class Service(_Child):
    """The service in a child process."""

    def __init__(self, home: Path, engine: Mapping[str, Any], port: int, log: Path) -> None:
        """`engine` is `args.engine` of the service."""
        self.port = port
        command = [
            *(sys.executable, "-m", "benchmarks.event_server"),
            *("--home", str(home), "--engine", orjson.dumps(engine).decode(), "--port", str(port)),
        ]
        super().__init__(command, log)

    def start(self) -> None:
        """Start it; returns when it answers."""
        super().start()
        deadline = monotonic() + _BOOT_SECONDS
        while not self._answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or monotonic() > deadline:
                message = f"the service did not start:\n{self._log.read_text()[-2000:]}"
                raise RuntimeError(message)
            sleep(0.02)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()


class StreamProcess(_Child):
    """`qianmian stream` on the shop's log; started again, it takes the log up where it was left."""

    def __init__(self, home: Path, engine: Mapping[str, Any], log: Path) -> None:
        """`engine` is `args.engine` of the service."""
        args = {"engine": dict(engine), "stream": {"read_events": 10_000}}
        serve = {
            "http_options": {"port": 8000},
            "applications": [{"args": args, "deployments": [{}]}],
        }
        config = home / "serve.yaml"
        config.write_bytes(orjson.dumps(serve))  # JSON is YAML
        command = [
            *(sys.executable, "-m", "qianmian.cli.main", "--home", str(home)),
            *("--dataset", DATASET, "stream", "--config", str(config)),
        ]
        super().__init__(command, log)

    def drain(self) -> None:
        """End it, and have another one work off what is left."""
        self.stop()
        with self._log.open("ab") as log:
            done = subprocess.run([*self._command, "--once"], stdout=log, stderr=log, check=False)
        if done.returncode:
            message = f"the stream failed:\n{self._log.read_text()[-2000:]}"
            raise RuntimeError(message)

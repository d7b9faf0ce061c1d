"""The load beside the probes: pages at a steady rate, with what follows them."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.freshness.shop import Client, Json, Shop, event


@dataclass(slots=True)
class Load:
    """Pages at a steady rate; each is followed by its impressions, and now and then a click."""

    shop: Shop
    pages_per_second: float
    stopping: threading.Event = field(default_factory=threading.Event)
    pages: int = 0
    events: int = 0
    behind: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self, number: int, workers: int) -> None:
        client, rng = Client(self.shop.port), random.Random(1000 + number)
        every = workers / self.pages_per_second
        due = time.monotonic() + every * number / workers
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            self.behind += time.monotonic() - due > 1.0
            due = max(due + every, time.monotonic() - 1.0)
            self._visit(client, rng, f"load-{os.getpid()}-{number}-{self.pages}")

    def _visit(self, client: Client, rng: random.Random, name: str) -> None:
        user = rng.choice(self.shop.users)
        body = {"user": {"id": user}, "blocks": [{"page_size": 10}]}
        status, page = client.post(f"/v1/venues/{self.shop.venue}:recommend", body)
        if status != 200:  # noqa: PLR2004
            return
        self.pages += 1
        token, shown = page["attribution_token"], page["blocks"][0]["items"]
        events = [
            event(
                self.shop, f"{name}-{place}", "impression", user, item["item_id"],
                position=item["position"], attribution_token=token,
            )
            for place, item in enumerate(shown)
        ]  # fmt: skip
        if shown and rng.random() < 0.2:  # noqa: PLR2004
            item = rng.choice(shown)["item_id"]
            events.append(event(self.shop, f"{name}-c", "click", user, item))
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
def loaded(shop: Shop, options: argparse.Namespace) -> Iterator[Load]:
    """A load that runs as long as the context."""
    load, workers = Load(shop, options.pages_per_second), 4
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

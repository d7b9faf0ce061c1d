"""Probes: an order, and the time until the shopper's page knows of it."""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from itertools import count
from typing import Final

from benchmarks import command
from benchmarks.freshness.shop import Client, Shop, event
from qianmian.retrieval.sources import REPEAT, SourceQuotas

LATE_SECONDS: Final = 10.0
ASK_EVERY: Final = 0.01
#: Of the shopper's own items, in an arm of an experiment that may lower the quota.
_SMALL_QUOTA: Final = 5


def probe_all(shop: Shop, options: argparse.Namespace) -> list[float]:
    """Probe until so many were answered; shoppers whose page cannot show it are passed over."""
    seconds: list[float] = []
    upcoming = count()
    lock = threading.Lock()

    def work(number: int) -> None:
        client, rng = Client(shop.port), random.Random(number)
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
                    command.say(f"{len(seconds)} probes")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(options.probers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds[: options.probes]


def _probe(
    client: Client, shop: Shop, user: str, event_id: str, rng: random.Random
) -> float | None:
    """Order something and wait until the page knows; None where the page cannot show it."""
    owned = shop.owned.setdefault(user, set())
    before, quota = _own_items(client, shop, user)
    if before >= quota - 1:
        return None
    item = rng.choice([one for one in rng.choices(shop.pool, k=50) if one not in owned])
    owned.add(item)
    ordered = event(shop, event_id, "order", user, item, value=2.0, quantity=1.0)
    status, answer = client.post("/v1/events", {"events": [ordered]})
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
            command.say(f"late: {user} {item} {before}")
            return LATE_SECONDS
        time.sleep(ASK_EVERY)


def _own_items(client: Client, shop: Shop, user: str) -> tuple[int, int]:
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

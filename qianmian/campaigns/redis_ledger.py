"""The ledger in Redis, for replicas on several machines: each operation is one Lua script.

As durable as the event log beside it: `qianmian.events.redis_link` refuses a Redis that may forget.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from qianmian.campaigns.ledger import (
    ANSWERED,
    COLUMN,
    IDEMPOTENCE_SECONDS,
    Balance,
    Lease,
    LeaseRequest,
    SponsoredEvent,
    Tally,
    Usage,
    Verdict,
    day_charge,
)
from qianmian.events.redis_link import RedisLink

_SCRIPT: Final = Path(__file__).with_name("redis_ledger.lua")


class RedisLedger:
    """Keeps `qianmian.campaigns.ledger.BudgetLedger`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._prefix = link.key("campaigns")
        self._script = link.script(_SCRIPT.read_text(encoding="utf-8"))

    def fund(self, budgets: Mapping[str, int]) -> None:
        if budgets:
            self._run("fund", budgets=dict(budgets))

    def lease(self, holder: str, requests: Sequence[LeaseRequest], now: float) -> list[Lease]:
        if not requests:
            return []
        wanted: list[Any] = [
            {**asdict(request), "until": now + request.seconds} for request in requests
        ]
        granted = json.loads(self._run("lease", holder=holder, requests=wanted))
        return [
            Lease(lease_id, requests[place - 1].campaign, int(amount), wanted[place - 1]["until"])
            for place, lease_id, amount in granted
        ]

    def report(self, usages: Sequence[Usage]) -> None:
        if usages:
            self._run("report", usages=[asdict(usage) for usage in usages])

    def buy_day(self, campaign: str, day: str, price: int, now: float) -> bool:
        event_id = day_charge(campaign, day)
        return bool(self._run("buy_day", event_id=event_id, campaign=campaign, price=price, at=now))

    def book(self, events: Sequence[SponsoredEvent], *, after: str, cursor: str) -> list[Verdict]:
        told = [{**asdict(event), "column": COLUMN[event.activity]} for event in events]
        verdicts = json.loads(self._run("book", events=told, after=after, cursor=cursor))
        return [Verdict(verdict) for verdict in verdicts]

    def cursor(self) -> str:
        with self._link.using() as client:
            return _text(client.get(f"{self._prefix}:cursor") or b"")

    def close(self, now: float) -> int:
        return int(self._run("close", now=now, forget_before=now - IDEMPOTENCE_SECONDS))

    def balances(self, now: float) -> dict[str, Balance]:
        rows = json.loads(self._run("balances", now=now))
        return {campaign: Balance(*map(int, amounts)) for campaign, *amounts in rows}

    def tallies(self) -> list[Tally]:
        counted: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        for packed, value in self._all("tallies").items():
            campaign, hour, column = json.loads(packed)
            counted[campaign, int(hour)][column] = int(value)
        zeros = dict.fromkeys((*COLUMN.values(), "sales_value", "spent", "unbilled"), 0)
        return [
            Tally(campaign, hour, **{**zeros, **counts})
            for (campaign, hour), counts in sorted(counted.items())
        ]

    def set_paces(self, paces: Mapping[str, bytes]) -> None:
        if paces:
            with self._link.using() as client:
                client.hset(f"{self._prefix}:paces", mapping=dict(paces))

    def paces(self) -> dict[str, bytes]:
        return self._all("paces")

    def shut(self) -> None:
        self._link.close()

    def _run(self, operation: str, **given: object) -> Any:
        given["answered"] = ANSWERED
        with self._link.using():
            return self._script(keys=[self._prefix], args=[operation, json.dumps(given)])

    def _all(self, name: str) -> dict[str, bytes]:
        with self._link.using() as client:
            held = client.hgetall(f"{self._prefix}:{name}")
        return {_text(field): value for field, value in held.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""The sellers of `benchmarks.pacing`: twelve campaigns, and processes that auction for them."""

from __future__ import annotations

import math
import multiprocessing as mp
import os
import random
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from qianmian.campaigns.campaign import BILLED, Campaign
from qianmian.campaigns.money import micros
from qianmian.campaigns.pacer import participations
from qianmian.campaigns.schema import CampaignFile
from qianmian.campaigns.selling import sell
from qianmian.campaigns.sqlite_ledger import SqliteLedger
from qianmian.campaigns.wallet import Wallet

START: Final = 1_793_404_800.0  # a midnight, UTC
DAY: Final = 86_400.0
TICK: Final = 120.0
REFRESH: Final = 30.0  # of a wallet
TICKS: Final = round(DAY / TICK)
PLACES: Final = 3
TICKS_AN_HOUR: Final = round(3_600 / TICK)
BATCH: Final = 64  # auctions whose showings are told together
CHANCE: Final = {"cpd": 1.0, "cpm": 1.0, "cpc": 0.05, "cps": 0.02}
#: What an impression is worth to each campaign, so that none wins always.
WORTH: Final = 0.004
#: Share of what all places could earn that the budgets come to, the greedy one's left out.
SOLD: Final = 0.15
#: Least worth of an impression, as a share of `WORTH`.
RESERVE: Final = 0.25
#: Campaign whose budget the traffic cannot spend, and how many times the others' it is.
GREEDY, GREED = 3, 40.0
#: Billing and curve of each campaign.
CAMPAIGNS: Final = (
    ("cpm", "even"), ("cpm", "even"), ("cpm", "traffic"), ("cpm", "even"),
    ("cpc", "even"), ("cpc", "even"), ("cpc", "traffic"), ("cpc", "even"), ("cpc", "even"),
    ("cps", "even"), ("cps", "even"), ("cpd", "even"),
)  # fmt: skip

Showing = tuple[str, str, str, int, float, float]  # exposure, campaign, lease, price, chance, at


def campaigns_for(auctions: int) -> dict[str, Campaign]:
    """Return twelve campaigns whose budgets together are `SOLD` of what there is to buy."""
    shares = [1.0 + (n % 4) / 2 for n in range(len(CAMPAIGNS))]
    whole = SOLD * auctions * PLACES * WORTH
    made = {}
    for n, (billing, curve) in enumerate(CAMPAIGNS):
        worth = WORTH * (0.9 + 0.05 * (n % 5))
        bid = worth / CHANCE[billing] * (1000 if billing == "cpm" else 1)
        budget = whole * shares[n] / sum(shares) * (GREED if n == GREEDY else 1.0)
        pacing: dict[str, Any] = {"curve": curve}
        if curve == "traffic":
            pacing["hours"] = [traffic((hour + 0.5) * 3600) for hour in range(24)]
        file = CampaignFile.model_validate(
            {
                "campaign": f"{billing}-{n}",
                "advertiser": f"Advertiser {n}",
                "items": [f"item-{n}"],
                "starts_at": "2026-10-31T00:00:00Z",
                "ends_at": "2026-11-01T00:00:00Z",
                "budget": budget,
                "billing": billing,
                "bid": budget / 2 if billing == "cpd" else bid,
                **({} if billing == "cpd" else {"pacing": pacing}),
                "pricing": "second_price" if n % 3 else "fixed",
            }
        )
        made[file.campaign] = Campaign.of(file)
    return made


def traffic(second: float) -> float:
    """Weight of a second of the day: quiet at night, three times the mean in the evening."""
    hour = second / 3600.0
    noon, evening = math.exp(-(((hour - 12) / 4) ** 2)), math.exp(-(((hour - 21) / 2) ** 2))
    return 0.35 + 0.5 * noon + 1.6 * evening


def replica(holder: str, ledger_path: Path, auctions: int, seed: int, pipe: Connection) -> None:
    """Hold the auctions of each tick that the pipe names, telling what was shown as it is shown."""
    campaigns = campaigns_for(auctions)
    terms = {c.id: c.terms() for c in campaigns.values() if BILLED[c.billing]}
    days = [c for c in campaigns.values() if not BILLED[c.billing]]
    ledger = SqliteLedger(ledger_path)
    wallet = Wallet(ledger, holder=holder, low=2 * REFRESH)
    rng = random.Random(seed)
    shown = 0
    while (order := pipe.recv()) is not None:
        tick, auctions_due = order
        began = START + tick * TICK
        refresh_at = began
        entering = participations(ledger.paces(), campaigns.values())
        for campaign in days:
            ledger.buy_day(campaign.id, campaign.day(began), campaign.price, began)
        showings: list[Showing] = []
        for n in range(auctions_due):
            now = began + TICK * n / auctions_due
            if now >= refresh_at:
                wallet.refresh(terms, now)
                refresh_at += REFRESH
            bids = [
                campaign.bid(item, _chance(campaign, rng), participation=entering[campaign.id])
                for item, campaign in enumerate(campaigns.values())
            ]
            for sold in sell(
                bids,
                campaigns,
                places=PLACES,
                reserve=micros(RESERVE * WORTH),
                wallet=wallet,
                draw=rng.random,
                now=now,
            ):
                shown += 1
                name, chance = f"{holder}/{shown}", bids[sold.item].chance
                showings.append((name, sold.campaign.id, sold.lease_id, sold.price, chance, now))
            if n % BATCH == BATCH - 1:
                pipe.send(showings)
                showings = []
        pipe.send(showings)
        pipe.send(None)
    wallet.settle_all()


def _chance(campaign: Campaign, rng: random.Random) -> float:
    chance = CHANCE[campaign.billing]
    return chance if chance == 1.0 else min(chance * rng.lognormvariate(0.0, 0.4), 1.0)


@dataclass
class Fleet:
    """The replicas, told tick by tick what to do and killed now and then."""

    ledger_path: Path
    auctions: int
    size: int
    rng: random.Random
    kills: int = 0
    started: int = 0
    running: dict[int, tuple[mp.process.BaseProcess, Connection]] = field(default_factory=dict)

    def tick(self, tick: int, due: int, victim: int | None) -> list[Showing]:
        """Have `due` auctions held; returns what was shown, by the one that died too."""
        for number in range(self.size):
            if number not in self.running:
                self._start(number)
            share = due // self.size + (number < due % self.size)
            self.running[number][1].send((tick, share))
        if victim is not None:
            time.sleep(self.rng.random() * 0.02)
            process = self.running[victim][0]
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            self.kills += 1
        showings: list[Showing] = []
        for number in list(self.running):
            showings += self._drain(number)
        if victim is not None:
            self.running.pop(victim)
        return showings

    def stop(self) -> None:
        """Let every replica give back its leases and end."""
        for process, pipe in self.running.values():
            pipe.send(None)
            process.join()

    def _start(self, number: int) -> None:
        self.started += 1
        ours, theirs = mp.Pipe()
        process = mp.get_context("spawn").Process(
            target=replica,
            args=(
                f"{number}.{self.started}",
                self.ledger_path,
                self.auctions,
                self.rng.getrandbits(32),
                theirs,
            ),
            daemon=True,
        )
        process.start()
        theirs.close()
        self.running[number] = process, ours

    def _drain(self, number: int) -> list[Showing]:
        showings: list[Showing] = []
        pipe = self.running[number][1]
        try:
            while (batch := pipe.recv()) is not None:
                showings += batch
        except (EOFError, ConnectionResetError):
            pass  # it was killed: what it had told stays told
        return showings

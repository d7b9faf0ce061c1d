"""Budgets under many auctions over several replicas that are killed at random.

    python -m benchmarks.pacing --auctions 1000000

A day of a sale in simulated time, in lockstep ticks of two minutes. Three processes, each with its
own wallet on the one durable ledger, hold auctions for twelve campaigns billed by day, impression,
click and sale. This process plays the shoppers and the stream: it makes events of
what was shown (some events twice, some clicks twice, some too late), books them, and steps the
pacing. Replicas are ended by SIGKILL in the middle of a tick and started anew; what they had shown
until then counts. Progress goes to stderr, one JSON object to stdout:

    overspend       most that any campaign had spent beyond its budget after any tick, in money
    pacing_error    largest distance of any campaign from its plan after any tick, as a share of
                    its budget, the first two hours left out. Where a campaign took part in every
                    auction in more than 10 % of the ticks, the traffic did not allow its plan: it
                    is left out and listed under `short_of_traffic`. One campaign is meant to be.
    held_beyond     most that spent and held money together exceeded a budget, in money
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import multiprocessing as mp
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from qianmian.campaigns.campaign import BILLED, Campaign
from qianmian.campaigns.ledger import Activity, SponsoredEvent
from qianmian.campaigns.money import amount, micros
from qianmian.campaigns.pacer import Pacer, participations
from qianmian.campaigns.pacing import PaceController
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
SETTLING: Final = 2 * 3_600.0
TICKS_AN_HOUR: Final = round(3_600 / TICK)
SEEN: Final = 0.97  # of what was shown, impressions that are reported
TWICE: Final = 0.05  # events of a showing that happen twice, and events that are sent twice
TOO_LATE: Final = 0.01
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
#: Share of ticks with full participation from which a campaign counts as short of traffic.
SHORT: Final = 0.1
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


# -- a replica ------------------------------------------------------------------------------------


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


# -- shoppers and the stream ----------------------------------------------------------------------


class Shoppers:
    """What comes of showings: events with their moments, some twice, some too late."""

    def __init__(self, campaigns: dict[str, Campaign], rng: random.Random) -> None:
        self._campaigns = campaigns
        self._rng = rng
        self._coming: list[tuple[float, int, SponsoredEvent]] = []
        self._numbers = count()

    def see(self, showing: Showing) -> None:
        """Decide what the shopper does with one showing."""
        exposure, campaign_id, lease_id, price, chance, shown_at = showing
        campaign = self._campaigns[campaign_id]
        billed = BILLED[campaign.billing]
        if billed is None:
            return
        if self._rng.random() >= (SEEN if billed is Activity.IMPRESSION else chance):
            return
        for again in range(self._often(TWICE)):
            delay = min(self._rng.expovariate(12 / campaign.window), campaign.window)
            if self._rng.random() < TOO_LATE:
                delay += campaign.window
            event = SponsoredEvent(
                event_id=f"{exposure}/{again}",
                campaign=campaign_id,
                activity=billed,
                at=shown_at + delay,
                value=0,
                exposure=exposure,
                lease_id=lease_id,
                price=price,
                late=delay > campaign.window,
            )
            for _ in range(self._often(TWICE)):
                heapq.heappush(self._coming, (event.at, next(self._numbers), event))

    def _often(self, chance_of_two: float) -> int:
        return 2 if self._rng.random() < chance_of_two else 1

    def until(self, now: float) -> list[SponsoredEvent]:
        """Return what has happened by now."""
        events = []
        while self._coming and self._coming[0][0] <= now:
            events.append(heapq.heappop(self._coming)[2])
        return events


@dataclass
class Watch:
    """What is measured after every tick; amounts in micros."""

    campaigns: dict[str, Campaign]
    overspend: int = 0
    held_beyond: int = 0
    errors: dict[str, float] = field(default_factory=dict)
    saturated: Counter[str] = field(default_factory=Counter)

    def look(self, ledger: SqliteLedger, entering: dict[str, float], now: float) -> None:
        """Compare every campaign with its budget and its plan."""
        for name, balance in ledger.balances(now).items():
            campaign = self.campaigns[name]
            self.overspend = max(self.overspend, balance.spent - balance.budget)
            over = balance.spent + balance.held - balance.budget
            self.held_beyond = max(self.held_beyond, over)
            if not campaign.paced or now < START + SETTLING or now > START + DAY:
                continue
            error = balance.committed / balance.budget - campaign.plan.share(now)
            self.errors[name] = max(self.errors.get(name, 0.0), abs(error))
            self.saturated[name] += entering[name] >= 1.0

    def short_of_traffic(self) -> list[str]:
        """Return the campaigns whose plan the traffic did not allow."""
        return sorted(n for n, ticks in self.saturated.items() if ticks > SHORT * TICKS)


def run(
    auctions: int, replicas: int, kills: int, seed: int, folder: Path, hours: int = 24
) -> dict[str, Any]:
    """Simulate the first hours of a day of so many auctions and return what was measured."""
    rng = random.Random(seed)
    campaigns = campaigns_for(auctions)
    ledger = SqliteLedger(folder / "ledger.db")
    ledger.fund({campaign.id: campaign.budget for campaign in campaigns.values()})
    pacer = Pacer(ledger, PaceController())
    fleet = Fleet(folder / "ledger.db", auctions, replicas, rng)
    shoppers, watch = Shoppers(campaigns, rng), Watch(campaigns)
    weights = [traffic((tick + 0.5) * TICK) for tick in range(TICKS)]
    ticks = hours * TICKS_AN_HOUR
    dying = Counter(rng.randrange(1, ticks) for _ in range(kills))
    verdicts: Counter[str] = Counter()
    held, showings, began = 0, 0, time.monotonic()
    for tick in range(ticks):
        due = round(auctions * sum(weights[: tick + 1]) / sum(weights)) - held
        held += due
        shown = fleet.tick(tick, due, rng.randrange(replicas) if dying[tick] else None)
        showings += len(shown)
        for showing in shown:
            shoppers.see(showing)
        verdicts += _stream(ledger, pacer, campaigns, shoppers, watch, START + (tick + 1) * TICK)
        if (tick + 1) % TICKS_AN_HOUR == 0:
            spent = sum(balance.spent for balance in ledger.balances(START).values())
            print(
                f"hour {(tick + 1) // TICKS_AN_HOUR}: {held:,} auctions, {showings:,} shown, "
                f"{amount(spent):,.0f} spent, {fleet.kills} killed",
                file=sys.stderr,
            )
    fleet.stop()
    for hour in range(1, 50):  # the windows run out, the leases close
        now = START + DAY + hour * 3600.0
        verdicts += _stream(ledger, pacer, campaigns, shoppers, watch, now)
    balances = ledger.balances(now).values()
    ledger.shut()
    short = watch.short_of_traffic()
    errors = {name: error for name, error in watch.errors.items() if name not in short}
    return {
        "auctions": held,
        "replicas": replicas,
        "kills": fleet.kills,
        "showings": showings,
        "overspend": amount(watch.overspend),
        "held_beyond": amount(watch.held_beyond),
        "pacing_error": round(max(errors.values(), default=0.0), 4),
        "pacing_errors": {name: round(error, 4) for name, error in sorted(errors.items())},
        "short_of_traffic": short,
        "spent_of_budgets": round(
            sum(b.spent for b in balances) / sum(b.budget for b in balances), 4
        ),
        "still_held": amount(sum(balance.held for balance in balances)),
        "verdicts": dict(sorted(verdicts.items())),
        "seconds": round(time.monotonic() - began, 1),
    }


def _stream(
    ledger: SqliteLedger,
    pacer: Pacer,
    campaigns: dict[str, Campaign],
    shoppers: Shoppers,
    watch: Watch,
    now: float,
) -> Counter[str]:
    """Do what the stream process does until now."""
    after = ledger.cursor()
    verdicts = ledger.book(shoppers.until(now), after=after, cursor=str(int(after or 0) + 1))
    ledger.close(now)
    pacer.step(campaigns.values(), now)
    watch.look(ledger, participations(ledger.paces(), campaigns.values()), now)
    return Counter(verdict.value for verdict in verdicts)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--auctions", type=int, default=200_000)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--hours", type=int, default=24, help="of the day, from its beginning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the ledger lies; default: a new folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        result = run(
            given.auctions, given.replicas, given.kills, given.seed, Path(folder), given.hours
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()

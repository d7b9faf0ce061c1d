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

import heapq
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks import command
from benchmarks.pacing_fleet import (
    DAY,
    START,
    TICK,
    TICKS,
    TICKS_AN_HOUR,
    Fleet,
    Showing,
    campaigns_for,
    traffic,
)
from qianmian.campaigns.campaign import BILLED, Campaign
from qianmian.campaigns.ledger import Activity, SponsoredEvent
from qianmian.campaigns.money import amount
from qianmian.campaigns.pacer import Pacer, participations
from qianmian.campaigns.pacing import PaceController
from qianmian.campaigns.sqlite_ledger import SqliteLedger

SETTLING: Final = 2 * 3_600.0
SEEN: Final = 0.97  # of what was shown, impressions that are reported
TWICE: Final = 0.05  # events of a showing that happen twice, and events that are sent twice
TOO_LATE: Final = 0.01
#: Share of ticks with full participation from which a campaign counts as short of traffic.
SHORT: Final = 0.1


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
            command.say(
                f"hour {(tick + 1) // TICKS_AN_HOUR}: {held:,} auctions, {showings:,} shown, "
                f"{amount(spent):,.0f} spent, {fleet.kills} killed"
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
    parser = command.parser("pacing", __doc__)
    parser.add_argument("--auctions", type=command.count, default=200_000)
    parser.add_argument("--replicas", type=command.count, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--hours", type=command.count, default=24, help="of the day, from its beginning"
    )
    parser.add_argument("--seed", type=command.at_least(0), default=1)
    parser.add_argument("--folder", type=Path, help="where the ledger lies; default: a new folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        result = run(
            given.auctions, given.replicas, given.kills, given.seed, Path(folder), given.hours
        )
    command.report(result)


if __name__ == "__main__":
    command.run(main)

"""Sessions: no item that a shopper already bought, where the venue forbids it.

    python -m benchmarks.sessions > sessions.json

A SIMULATION: 10,000 sessions of shoppers fitted to the real orders of the training part
(`benchmarks/simulator`) visit a venue whose file says `eligibility: {bought_within_days: 3650}`,
over the real HTTP interface, with the stream running beside it. An order of a session must be
honoured by the next page. `violations` counts shown items that the shopper bought before, in the
training part or in the simulation, on every page asked at least `--bound` seconds (default 1) after
the answer 202 to the order. Pages asked sooner are counted apart: `early_pages` and
`early_violations`.

`{sessions, answers, items_shown, violations, ...}`; progress goes to stderr. It works on a copy of
the data set's folder, on this machine alone.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks import command
from benchmarks.simulator.driver import Driver, Habits, ShownPage
from benchmarks.simulator.service import running
from benchmarks.simulator.shoppers import Shoppers
from benchmarks.simulator.taste import Purchases
from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.workspace import CONFIGS, Workspace
from serving.clock import ClockSettings
from serving.launch import SERVE_FILE, ServeFile

_DAY: Final = 86_400.0
_FOREVER_DAYS: Final = 3650.0


class Ledger:
    """What everybody bought, and when the service had to know it."""

    def __init__(self, purchases: Purchases, *, bound: float) -> None:
        """`bound`: seconds after which an order must be honoured."""
        self._bound = bound
        self._since: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for user, item in zip(
            purchases.user_ids[purchases.users].tolist(),
            purchases.item_ids[purchases.items].tolist(),
            strict=True,
        ):
            self._since[user][item] = float("-inf")
        self.pages = self.shown = self.violations = 0
        self.early_pages = self.early_violations = 0
        self.oldest = 0.0  # seconds from a 202 to a page that did not honour it
        self.examples: list[dict[str, Any]] = []

    def order(self, user: str, item: str, answered_at: float) -> None:
        """Book an order that the service took at `answered_at`."""
        self._since[user].setdefault(item, answered_at + self._bound)

    def page(self, page: ShownPage) -> None:
        """Count what a page shows that was bought before."""
        since = self._since[page.user]
        bought = {item: since[item] for item in page.items if item in since}
        wrong = [item for item, known in bought.items() if page.asked_at >= known]
        self.pages += 1
        self.shown += len(page.items)
        self.violations += len(wrong)
        self.early_violations += len(bought) - len(wrong)
        self.early_pages += any(known > page.asked_at for known in since.values())
        ages = [page.asked_at - bought[item] + self._bound for item in wrong]
        self.oldest = max([self.oldest, *ages])
        if wrong and len(self.examples) < 5:  # noqa: PLR2004 - a few tell enough
            said = dict(zip(wrong, (round(min(age, 1e9), 2) for age in ages), strict=True))
            self.examples.append({"user": page.user, "session": page.session, "seconds": said})


def main() -> None:
    """Run the sessions and print."""
    options = _options()
    source = Workspace(options.home, options.dataset)
    dataset = Dataset.open(source)
    cut = dataset.spec.split.train_end.timestamp()
    venue = _venue(dataset, options.venue)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        command.say("copying the data set's folder")
        workspace = Workspace(scratch / "home", options.dataset)
        shutil.copytree(source.path, workspace.path)
        configs = forbidding(scratch, options.dataset, venue)
        end = cut + options.days * _DAY
        file = ServeFile.read(SERVE_FILE).changed(
            args={
                "home": str(workspace.root),
                "dataset": options.dataset,
                "configs": str(configs),
            },
            clock=ClockSettings(mode="fixed", at=datetime.fromtimestamp(end, tz=UTC)),
        )
        command.say("fitting shoppers to the training part")
        shoppers = Shoppers.fit(dataset, cut=cut, seed=options.seed)
        ledger = Ledger(shoppers.taste.past, bound=options.bound)
        habits = Habits(
            venue=venue,
            page_size=options.page_size,
            pages=options.pages,
            parallel=options.parallel,
            pause=options.bound,
            max_seconds=options.max_seconds,
        )
        command.say("starting the service and its stream")
        with running(file, scratch / "run") as service:
            driver = Driver(
                service.url,
                shoppers,
                habits,
                run=secrets.token_hex(4),
                on_page=ledger.page,
                on_order=ledger.order,
            )
            visits = shoppers.plan(options.sessions, start=cut, end=end - 3600.0)
            tally = driver.drive(_told(visits, options.sessions))
    report = {
        "sessions": tally.sessions,
        "answers": tally.answers,
        "items_shown": tally.shown,
        "violations": ledger.violations,
        "early_pages": ledger.early_pages,
        "early_violations": ledger.early_violations,
        "bound_seconds": options.bound,
        "oldest_violation_seconds": round(min(ledger.oldest, 1e9), 2),
        "events": dict(tally.events),
        "rejected": dict(tally.rejected),
        "degraded": dict(tally.degraded),
        "examples": ledger.examples,
        "simulation": True,
        "dataset": options.dataset,
        "venue": venue,
        "seconds": round(tally.seconds, 1),
    }
    command.report(report)
    if ledger.violations or tally.sessions < options.sessions:
        sys.exit(1)


def forbidding(scratch: Path, dataset: str, venue: str) -> Path:
    """Copy the configuration and forbid what was bought in one venue; returns the folder."""
    configs = scratch / "configs"
    shutil.copytree(CONFIGS, configs)
    path = configs / "venues" / dataset / f"{venue}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    said = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    eligibility = {**said.get("eligibility", {}), "bought_within_days": _FOREVER_DAYS}
    path.write_text(yaml.safe_dump({**said, "eligibility": eligibility}), encoding="utf-8")
    return configs


def _venue(dataset: Dataset, wanted: str) -> str:
    venues = dataset.venues()
    known = set() if venues is None else set(venues[c.VENUE_ID].astype(str))
    return wanted if wanted in known else c.WHOLE_CATALOGUE_VENUE


def _told(visits: list[Any], count: int) -> Any:
    began = time.monotonic()
    for number, visit in enumerate(visits):
        if number and number % max(count // 10, 1) == 0:
            command.say(f"{number:,} sessions after {time.monotonic() - began:.0f} s")
        yield visit


def _options() -> argparse.Namespace:
    parser = command.parser("sessions", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--venue", default="18", help="a venue the data set lacks becomes `all`")
    parser.add_argument("--sessions", type=command.count, default=10_000)
    parser.add_argument("--pages", type=command.count, default=3, help="of a session, at most")
    parser.add_argument("--page-size", type=command.count, default=20)
    parser.add_argument("--parallel", type=command.count, default=32, help="sessions at a time")
    parser.add_argument("--days", type=float, default=6.9, help="simulated span; below 7")
    parser.add_argument("--bound", type=float, default=1.0, help="seconds from the 202 to the page")
    parser.add_argument("--max-seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=command.at_least(0), default=17)
    parser.add_argument("--scratch", type=Path, help="where the copy lies meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

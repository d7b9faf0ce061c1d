"""The closed loop: simulated sessions -> archive -> features -> retrain -> promote, three rounds.

    python -m benchmarks.loop --profile quick > loop.json

A SIMULATION: shoppers fitted to the real orders of a data set's training part
(`benchmarks/simulator`) visit the service over HTTP. The data is taken up three weeks before its
split, and each round is a week: the release of the round before answers, pages and what comes of
them are logged with attribution tokens, archived, and become the training set of the next release
together with the week's real orders.

Every release is then judged on the same simulated sessions of the week after the last round, whose
pages no release put together (`ndcg_click`, `ndcg_order`: NDCG@10), and on the real orders of the
data set's test weeks, with features that hold no simulated event (`ndcg_order_real`: NDCG@20 over
the whole catalogue). Round 0 is the release before any impression.

`{rounds: [{release, impressions, clicks, carts, orders, ndcg_click, ndcg_order, heads,
to_first: {ndcg_click: [ratio, low, high], ...}}], ...}`: `to_first` is paired, session by session
(real orders: shopper by shopper), with 95 % intervals; null where nothing came.
Progress goes to stderr. It works on a copy of the data set's folder, on this machine alone.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import command
from benchmarks.simulator.driver import Driver, Habits, Tally
from benchmarks.simulator.judging import Judge, later_sessions, real_test, user_rows
from benchmarks.simulator.service import qianmian, running
from benchmarks.simulator.shoppers import Shoppers
from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.splitting import move_split
from qianmian.data.store import Dataset
from qianmian.features.snapshots import build, schedule
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.releases.schema import current_schema
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from serving.clock import ClockSettings
from serving.launch import SERVE_FILE, ServeFile
from training import pipeline
from training.metrics import Floats, Resampled
from training.profile import TrainingProfile, load_profile

_WEEK: Final = 7 * 86_400.0
_SETTLE: Final = 3600.0  # the last visit of a week begins that long before its end


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large a run is."""

    profile: TrainingProfile
    rounds: int = 3
    sessions: int = 3000  # of a round
    venue: str = c.WHOLE_CATALOGUE_VENUE
    page_size: int = 20
    pages: int = 2
    parallel: int = 16
    judged_sessions: int = 1000
    judged_users: int = 500
    max_seconds: float = 1800.0  # of a round's sessions
    seed: int = 17


@dataclass
class Round:
    """What a release learned from."""

    release: str
    tally: Tally = field(default_factory=Tally)
    flagged: dict[str, int] = field(default_factory=dict)


class Loop:
    """One run on a workspace of its own."""

    def __init__(
        self, real: Workspace, scratch: Path, plan: Plan, progress: Callable[[str], None]
    ) -> None:
        """`real` is read only: the data set with features at its split."""
        self._real = real
        self._scratch = scratch
        self._plan = plan
        self._progress = progress
        self._workspace = Workspace(scratch / "home", real.dataset)
        self._cut = Dataset.open(real).spec.split.train_end.timestamp()
        self._first = self._cut - plan.rounds * _WEEK
        self._store = ReleaseStore(self._workspace.releases)

    def run(self) -> dict[str, Any]:
        """Play all rounds and judge every release."""
        self._progress("copying the data set's folder")
        shutil.copytree(self._real.data, self._workspace.data)
        self._progress("fitting shoppers to what lies before the first round")
        dataset = Dataset.open(self._real)
        shoppers = Shoppers.fit(dataset, cut=self._first, seed=self._plan.seed)
        rounds = [Round(self._retrain(self._first))]
        for number in range(1, self._plan.rounds + 1):
            start = self._first + (number - 1) * _WEEK
            self._progress(f"round {number}: {self._plan.sessions:,} sessions")
            tally = self._play(shoppers, number, start)
            self._progress(f"round {number}: {dict(tally.events)}")
            rounds.append(Round(self._retrain(start + _WEEK), tally, self._flagged()))
        return self._report(rounds, shoppers)

    def _play(self, shoppers: Shoppers, number: int, start: float) -> Tally:
        """A week of sessions against the live release, ended with everything in the archive."""
        end, plan = start + _WEEK, self._plan
        file = ServeFile.read(SERVE_FILE).changed(
            args={"home": str(self._workspace.root), "dataset": self._workspace.dataset},
            clock=ClockSettings(mode="fixed", at=_utc(end)),
        )
        habits = Habits(
            venue=plan.venue,
            page_size=plan.page_size,
            pages=plan.pages,
            parallel=plan.parallel,
            max_seconds=plan.max_seconds,
        )
        with running(file, self._scratch / f"round-{number}") as service:
            driver = Driver(service.url, shoppers, habits, run=secrets.token_hex(4))
            tally = driver.drive(shoppers.plan(plan.sessions, start=start, end=end - _SETTLE))
        service.drain()
        qianmian(service, "events", "archive", "--config", str(service.file))
        return tally

    def _retrain(self, until: float) -> str:
        """Features and a promoted release of what was known before `until`."""
        workspace, profile = self._workspace, self._plan.profile
        move_split(workspace, _utc(until))
        dataset = Dataset.open(workspace)
        moments = schedule(until, profile.snapshots.every_days, profile.snapshots.count)
        self._progress(f"features up to {_utc(until):%Y-%m-%d}")
        build(workspace, dataset, moments)
        FeatureRepo.open(workspace).materialize(until)
        release = pipeline.train(workspace, profile, self._progress)
        self._store.promote(release, schema=current_schema(workspace), at=datetime.now(UTC))
        return release

    def _flagged(self) -> dict[str, int]:
        return Dataset.open(self._workspace).untrusted().reasons

    def _report(self, rounds: list[Round], shoppers: Shoppers) -> dict[str, Any]:
        plan, rng = self._plan, np.random.default_rng(self._plan.seed)
        self._progress("judging every release")
        sessions = later_sessions(
            shoppers, plan.judged_sessions, start=self._cut, end=self._cut + _WEEK
        )
        simulated = user_rows(
            FeatureRepo.open(self._workspace), [s.user for s in sessions], self._cut
        )
        wanted = real_test(Dataset.open(self._real), plan.judged_users, rng)
        real = user_rows(FeatureRepo.open(self._real), list(wanted), self._cut)
        told: list[dict[str, Any]] = []
        first: dict[str, Floats] = {}
        for number, one in enumerate(rounds):
            manifest = self._store.get(one.release)
            judge = Judge(Bundle.load(self._store.path(one.release)), manifest.quotas)
            events = one.tally.events
            found = judge.on_sessions(sessions, simulated)
            found["ndcg_order_real"] = judge.on_test(wanted, real, self._cut)
            first = first or found
            told.append(
                {
                    "round": number,
                    "release": one.release,
                    "sessions": one.tally.sessions,
                    "impressions": events[EventType.IMPRESSION.value],
                    "clicks": events[EventType.CLICK.value],
                    "carts": events[EventType.CART.value],
                    "orders": events[EventType.ORDER.value],
                    **{name: _mean(each) for name, each in found.items()},
                    "to_first": {name: _ratio(found[name], first[name], rng) for name in found},
                    "heads": [str(action) for action in manifest.actions],
                    "untrusted": one.flagged,
                    "rejected": dict(one.tally.rejected),
                    "degraded": dict(one.tally.degraded),
                }
            )
            self._progress(json.dumps(told[-1]))
        return {
            "rounds": told,
            "simulation": True,
            "dataset": self._real.dataset,
            "profile": plan.profile.name,
            "judged_sessions": len(sessions),
            "judged_users": len(wanted),
            "fitted": shoppers.fitted(),
        }


def _mean(values: Floats) -> float | None:
    """Mean of what was judged, None where nothing was."""
    judged = values[np.isfinite(values)]
    return round(float(judged.mean()), 4) if len(judged) else None


def _ratio(ours: Floats, theirs: Floats, rng: np.random.Generator) -> list[float | None] | None:
    """Ratio of means with its interval, over what both were judged on; None where there is none."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not theirs[both].any():
        return None
    found = Resampled.draw(int(both.sum()), rng).ratio(ours[both], theirs[both])
    return [round(value, 4) if np.isfinite(value) else None for value in found]


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, tz=UTC)


def main() -> None:
    """Run and print."""
    options = _options()
    plan = Plan(
        profile=load_profile(options.profile),
        rounds=options.rounds,
        sessions=options.sessions,
        venue=options.venue,
        page_size=options.page_size,
        pages=options.pages,
        parallel=options.parallel,
        judged_sessions=options.judged_sessions,
        judged_users=options.judged_users,
        max_seconds=options.max_seconds,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        real = Workspace(options.home, options.dataset)
        command.report(Loop(real, Path(folder), plan, command.say).run())


def _options() -> argparse.Namespace:
    parser = command.parser("loop", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--profile", default="quick", help="training profile of every round")
    parser.add_argument(
        "--rounds", type=command.at_least(0), default=Plan.rounds, help="weeks before the split"
    )
    parser.add_argument("--sessions", type=command.count, default=Plan.sessions, help="of a round")
    parser.add_argument("--venue", default=Plan.venue)
    parser.add_argument("--page-size", type=command.count, default=Plan.page_size)
    parser.add_argument(
        "--pages", type=command.count, default=Plan.pages, help="of a session, at most"
    )
    parser.add_argument(
        "--parallel", type=command.count, default=Plan.parallel, help="sessions at a time"
    )
    parser.add_argument("--judged-sessions", type=command.count, default=Plan.judged_sessions)
    parser.add_argument("--judged-users", type=command.at_least(0), default=Plan.judged_users)
    parser.add_argument("--max-seconds", type=float, default=Plan.max_seconds)
    parser.add_argument("--seed", type=command.at_least(0), default=Plan.seed)
    parser.add_argument("--scratch", type=Path, help="where the copy lies meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

"""Trust: planted fraud in simulated traffic, and how much of it, and of nothing else, is flagged.

    python -m benchmarks.trust > trust.json

A SIMULATION: shoppers are fitted to the real orders of a data set's training part
(`benchmarks/simulator`), and each kind of fraud is planted among them in several strengths, some of
them below what the shipped thresholds catch, so recall is not 1 by construction. Progress goes to
stderr, one JSON object to stdout: `{kind: {precision, recall, planted}, ..., overall: {...}}`.
Honest traffic that looks like fraud (households on one device, eager shoppers, large baskets) is in
it as well, as many cases as of each fraud, so precision is not 1 by construction either.
Precision of a kind counts every planted event of whatever kind as rightly flagged: a robot that is
also a burst is no mistake.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter
from typing import Any

from benchmarks import command
from benchmarks.simulator.frauds import WEEK, Frauds, Honest
from benchmarks.simulator.shoppers import Shoppers
from qianmian.data.store import Dataset
from qianmian.trust.flags import find_flags
from qianmian.trust.kinds import KINDS
from qianmian.trust.monitor import TrustMonitor
from qianmian.trust.rules import TrustRules, load_rules
from qianmian.trust.traffic import Seen
from qianmian.workspace import Workspace

_BATCH = 1000


def main() -> None:
    """Plant, judge and print."""
    options = _options()
    dataset = Dataset.open(Workspace(options.home, options.dataset))
    cut = dataset.spec.split.train_end.timestamp()
    command.say("fitting shoppers to the training part")
    shoppers = Shoppers.fit(dataset, cut=cut, seed=options.seed)
    honest = Honest(shoppers)
    sessions = shoppers.plan(options.sessions, start=cut, end=cut + WEEK)
    events = [event for visit in sessions for event in honest.visit(visit)]
    for number in range(options.cases):
        events += honest.lookalikes(number, cut + shoppers.rng.uniform(0, WEEK))
    command.say(f"{len(events):,} honest events of {options.sessions:,} simulated sessions")
    frauds = Frauds(shoppers, start=cut, cases=options.cases)
    planted = {kind: list(frauds.of(kind)) for kind in KINDS}
    everything = events + [event for own in planted.values() for event in own]
    rules = load_rules(options.dataset)
    began = perf_counter()
    flags = find_flags(everything, rules)
    at_once = perf_counter() - began
    command.say(f"judged at once in {at_once:.1f} s; now as a stream")
    streamed, seconds = stream(everything, rules)
    same = streamed == {(flag.event_id, flag.reason) for flag in flags}
    report = {
        **judged({(flag.event_id, flag.reason) for flag in flags}, planted),
        "simulation": True,
        "dataset": options.dataset,
        "sessions": options.sessions,
        "events": len(everything),
        "honest": len(events),
        "fitted": shoppers.fitted(),
        "stream_agrees": same,
        "events_per_second": {
            "at_once": round(len(everything) / at_once),
            "stream": round(len(everything) / seconds),
        },
    }
    command.report(report)
    if not same:
        sys.exit("the stream flagged otherwise than the archive")


def judged(flags: set[tuple[str, str]], planted: dict[str, list[Seen]]) -> dict[str, Any]:
    """Return precision and recall of each kind and of all kinds together."""
    of_kind = {kind: {seen.event_id for seen in own} for kind, own in planted.items()}
    fraud = set().union(*of_kind.values())
    flagged = {kind: {event for event, reason in flags if reason == kind} for kind in planted}
    kinds = {
        kind: _score(
            flagged[kind] & fraud, flagged[kind], of_kind[kind] & flagged[kind], of_kind[kind]
        )
        for kind in planted
    }
    every = {event for event, _ in flags}
    return {**kinds, "overall": _score(every & fraud, every, every & fraud, fraud)}


def _score(
    right: set[str], flagged: set[str], found: set[str], planted: set[str]
) -> dict[str, Any]:
    return {
        "precision": round(len(right) / len(flagged), 4) if flagged else None,
        "recall": round(len(found) / len(planted), 4) if planted else None,
        "planted": len(planted),
    }


def stream(events: list[Seen], rules: TrustRules) -> tuple[set[tuple[str, str]], float]:
    """Return what the monitor holds after the events came in batches, and the seconds it took."""
    monitor, held = TrustMonitor(rules), dict[str, set[str]]()
    arriving = sorted(events, key=lambda seen: (seen.at, seen.event_id))
    began = perf_counter()
    for first in range(0, len(arriving), _BATCH):
        verdict = monitor.judge(arriving[first : first + _BATCH])
        held.update({seen.event_id: set() for seen in verdict.judged})
        for flag in verdict.flags:
            held[flag.event_id].add(flag.reason)
    seconds = perf_counter() - began
    return {(event, reason) for event, reasons in held.items() for reason in reasons}, seconds


def _options() -> argparse.Namespace:
    parser = command.parser("trust", __doc__)
    command.add_workspace(parser)
    parser.add_argument(
        "--sessions", type=command.count, default=5000, help="honest simulated sessions"
    )
    parser.add_argument(
        "--cases", type=command.at_least(0), default=40, help="planted cases of each kind"
    )
    parser.add_argument("--seed", type=command.at_least(0), default=17)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

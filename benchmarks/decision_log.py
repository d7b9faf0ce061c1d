"""The decision log: what writing every answer down costs the request path.

    python -m benchmarks.decision_log > decision_log.json

Progress goes to stderr, one JSON object to stdout. Needs a promoted release. Two services on the
same release answer the same shoppers in this process, body to body, in short turns: one writes its
decisions (to a folder that is removed at the end), one does not. `on_ms` and `off_ms` are the
medians of the turns' median times, `overhead` the median of the turns' ratios minus 1;
`throughput_overhead` is the same of the time for a whole turn at full speed, with the writer's
thread competing for the interpreter all along. `p99_on_ms` and `p99_off_ms` are over all answers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks import command
from benchmarks.serving import SLOWING

Serve = Callable[[bytes], bytes]


def main() -> None:
    """Measure and print."""
    options = _options()
    for name in SLOWING:
        os.environ.pop(name, None)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in a replica
    with tempfile.TemporaryDirectory() as scratch:
        command.report(measure(options, Path(scratch)))


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Return what was measured."""
    import orjson

    from qianmian.contracts.api import RECOMMEND_REQUEST
    from qianmian.contracts.columns import USER_ID
    from qianmian.data.store import Dataset
    from qianmian.releases.store import ReleaseStore
    from serving.clock import ClockSettings
    from serving.launch import SERVE_FILE, ServeFile
    from serving.service import VenueService

    file = ServeFile.read(SERVE_FILE).changed(
        args={"home": str(options.home), "dataset": options.dataset}
    )
    workspace = file.settings.workspace()
    manifest = ReleaseStore(workspace.releases).get(file.live.feed.release)
    at = manifest.data_end + timedelta(days=1)
    file = file.changed(clock=ClockSettings(mode="fixed", at=at))
    known = Dataset.open(workspace).train_events([USER_ID])[USER_ID]
    users = sorted(known.unique().astype(str))[: options.users]

    def open_service(*, logs: bool) -> VenueService:
        command.say(f"opening a service, decision log {'on' if logs else 'off'}")
        settings = file.settings.decision_log
        log = settings.model_copy(update={"enabled": logs, "folder": scratch / "decisions"})
        chosen = file.settings.model_copy(update={"decision_log": log})
        return VenueService.open(chosen, file.live)

    services = {True: open_service(logs=True), False: open_service(logs=False)}
    venue = options.venue if options.venue in services[True].book.venues else "all"
    bodies = [
        orjson.dumps(
            {"user": {"id": user}, "blocks": [{"page_size": options.page_size}]},
        )
        for user in users
    ]

    def serving(service: VenueService) -> Serve:
        return lambda body: service.respond(venue, RECOMMEND_REQUEST.validate_json(body))

    serve = {logs: serving(service) for logs, service in services.items()}
    for logs in (True, False):
        for body in bodies:
            serve[logs](body)  # the user caches are warm on both sides
    asked = cycle(bodies)
    times: dict[bool, list[list[float]]] = {True: [], False: []}
    for number in range(options.turns):
        for logs in (True, False) if number % 2 else (False, True):
            bodies_of_turn = list(islice(asked, options.requests))
            times[logs].append([_timed(serve[logs], body) for body in bodies_of_turn])
        if number % 10 == 0:
            command.say(f"turn {number + 1} of {options.turns}")
    for service in services.values():
        service.close()
    written = sum(path.stat().st_size for path in (scratch / "decisions").glob("*.*"))
    medians = {logs: [median(turn) for turn in turns] for logs, turns in times.items()}
    pairs = list(zip(times[True], times[False], strict=True))
    return {
        "on_ms": _ms(median(medians[True])),
        "off_ms": _ms(median(medians[False])),
        "overhead": round(
            median(on / off for on, off in zip(medians[True], medians[False], strict=True)) - 1, 4
        ),
        "throughput_overhead": round(median(sum(on) / sum(off) for on, off in pairs) - 1, 4),
        "p99_on_ms": _ms(_percentile(times[True], 0.99)),
        "p99_off_ms": _ms(_percentile(times[False], 0.99)),
        "bytes_per_decision": round(written / ((options.turns * options.requests) + len(bodies))),
        "turns": options.turns,
        "requests": options.turns * options.requests,
        "page_size": options.page_size,
        "venue": venue,
        "release": manifest.id,
    }


def _timed(serve: Serve, body: bytes) -> float:
    began = perf_counter()
    serve(body)
    return perf_counter() - began


def _percentile(turns: list[list[float]], share: float) -> float:
    ordered = sorted(value for turn in turns for value in turn)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)


def _options() -> argparse.Namespace:
    parser = command.parser("decision_log", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--venue", default="18")
    parser.add_argument("--users", type=command.count, default=500)
    parser.add_argument("--page-size", type=command.count, default=20)
    parser.add_argument("--turns", type=command.count, default=40, help="turns of each side")
    parser.add_argument("--requests", type=command.count, default=500, help="requests of a turn")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)

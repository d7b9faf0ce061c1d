"""The judge of the durability benchmark finds what is wrong, and a small run finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest

from benchmarks.event_counts import counts_of_clients, counts_of_log, differing
from benchmarks.event_shop import made_events
from qianmian.contracts.event_api import EVENTS_REQUEST
from qianmian.events.accepting import Acceptance, AcceptanceSettings
from qianmian.events.event import StoredEvent
from qianmian.workspace import PROJECT_ROOT


def stored_of(events: list[dict]) -> list[StoredEvent]:
    body = json.dumps({"events": events}).encode()
    moments = [one.timestamp.timestamp() for one in EVENTS_REQUEST.validate_json(body).events]
    acceptance = Acceptance(
        AcceptanceSettings(), known_item=lambda _: True, known_venue=lambda _: True
    )
    return acceptance.judge(body, max(moments)).events


def test_counts_are_those_of_the_clients_unless_something_is_lost_or_doubled() -> None:
    events = made_events(400, Random(1), "t")
    stored = stored_of(events)
    known = counts_of_clients(events)
    assert differing(known, counts_of_log(stored)) == 0
    order = next(n for n, one in enumerate(events) if one["event_type"] == "order")
    assert differing(known, counts_of_log([*stored, stored[order]])) == 1
    assert differing(known, counts_of_log(stored[:order] + stored[order + 1 :])) == 1
    assert differing(counts_of_clients([]), counts_of_log(stored)) > 10


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_small_run_loses_and_doubles_nothing() -> None:
    command = ["benchmarks.durability", "--events", "4000", "--kills", "2", "--clients", "4"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    expected = {"accepted": 4000, "stored": 4000, "lost": 0, "duplicated": 0, "wrong_counts": 0}
    assert {name: report[name] for name in expected} == expected
    assert report["kills"] == 2

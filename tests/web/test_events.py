"""The page's event tracker, in Node with the few things of a browser that it uses."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from qianmian.contracts.event_api import EVENTS_REQUEST
from qianmian.workspace import PROJECT_ROOT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

BROWSER = """
globalThis.document = new EventTarget();
globalThis.window = new EventTarget();
document.visibilityState = "visible";
let look;
globalThis.IntersectionObserver = class {
  constructor(callback) { look = callback; }
  observe() {}
  unobserve() {}
};
const { EventTracker } = await import(process.argv[1]);
const sent = [];
const beacons = [];
const client = {
  fails: 0,
  async readiness() { return { now: "2017-12-05T05:00:00+00:00" }; },
  async sendEvents(events) {
    if (this.fails-- > 0) throw new Error("not reachable");
    sent.push(events);
  },
  beaconEvents(events) { beacons.push(events); return true; },
};
const entry = () => new EventTarget();
const showing = (item_id, position) => ({
  user: { id: "anna" },
  page_view_id: "v1",
  answer: { attribution_token: "t", venue: { id: "18" } },
  block_id: "main",
  ranked: { item_id, position },
});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const tracker = new EventTracker(client);
await tracker.sync();
"""


def play(script: str) -> dict[str, Any]:
    """Run a script in the made browser; it prints what it found."""
    command = [NODE, "--experimental-default-type=module", "--input-type=module", "-e"]
    done = subprocess.run(
        [*command, BROWSER + script, "--", str(PROJECT_ROOT / "web" / "js" / "events.js")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_events_are_what_the_service_takes() -> None:
    found = play("""
tracker.add("impression", showing("i1", 1));
tracker.add("click", { ...showing("i2", 2), user: { visitor_id: "d-7" } });
await tracker.flush();
console.log(JSON.stringify({ sent }));
process.exit();
""")
    (batch,) = found["sent"]
    first, second = EVENTS_REQUEST.validate_json(json.dumps({"events": batch})).events
    assert (first.event_type, first.item_id, first.position) == ("impression", "i1", 1)
    assert (first.user_id, second.user_id, second.visitor_id) == ("anna", None, "d-7")
    assert (first.venue_id, first.attribution_token, first.page_view_id) == ("18", "t", "v1")
    assert first.timestamp.isoformat().startswith("2017-12-05T05:00:0")
    assert first.event_id != second.event_id


def test_an_item_counts_as_shown_after_a_second_in_view_and_once() -> None:
    found = play("""
const [stays, passes] = [entry(), entry()];
tracker.watch(stays, showing("stays", 1));
tracker.watch(passes, showing("passes", 2));
look([{ target: stays, isIntersecting: true }, { target: passes, isIntersecting: true }]);
await sleep(300);
look([{ target: passes, isIntersecting: false }]);
await sleep(900);
look([{ target: stays, isIntersecting: true }]);
stays.dispatchEvent(new Event("click"));
await sleep(1100);
await tracker.flush();
console.log(JSON.stringify({ sent }));
process.exit();
""")
    events = [(one["event_type"], one["item_id"]) for batch in found["sent"] for one in batch]
    assert events == [("impression", "stays"), ("click", "stays")]


def test_what_was_not_confirmed_is_sent_again_under_the_same_ids() -> None:
    found = play("""
for (let n = 1; n <= 250; n += 1) tracker.add("click", showing(`i${n}`, n));
client.fails = 1;
await tracker.flush();
const before = sent.length;
await tracker.flush();
await tracker.flush();
console.log(JSON.stringify({ before, sent }));
process.exit();
""")
    assert found["before"] == 0
    assert [len(batch) for batch in found["sent"]] == [100, 100, 50]
    assert len({one["event_id"] for batch in found["sent"] for one in batch}) == 250


def test_what_waits_goes_with_the_page() -> None:
    found = play("""
for (let n = 1; n <= 60; n += 1) tracker.add("click", showing(`i${n}`, n));
document.visibilityState = "hidden";
document.dispatchEvent(new Event("visibilitychange"));
await tracker.flush();
console.log(JSON.stringify({ beacons, sent }));
process.exit();
""")
    assert [len(batch) for batch in found["beacons"]] == [50, 10]
    assert found["sent"] == []

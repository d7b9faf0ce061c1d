from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from qianmian.contracts import decisions as d
from qianmian.contracts.api import BlockQuery, Params, RecommendRequest, Shopper
from qianmian.decisions.segments import OPEN, SEALED, newest, segments
from qianmian.workspace import Workspace
from serving.decision_log import DecisionLog, DecisionLogSettings
from serving.feed.decisions import Decision
from serving.feed.journey import Feed
from serving.feed.resident import World
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

REQUEST = RecommendRequest(
    user=Shopper(id="anna"),
    page_view_id="view-1",
    blocks=(BlockQuery(block_id="main", page_size=3), BlockQuery(block_id="more", page_size=2)),
)


@pytest.fixture
def shop(tmp_path: Path) -> VenueService:
    tiny.publish(Workspace(tmp_path, tiny.DATASET).releases)
    return service(tmp_path)


def folder_of(shop: VenueService) -> Path:
    return shop.settings.workspace().decisions


def counted(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


def until(holds: Callable[..., bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_the_log_says_what_the_page_got(shop: VenueService) -> None:
    answers = [json.loads(shop.respond("sale", REQUEST)) for _ in range(3)]
    shop.close()
    rows = newest(folder_of(shop), 100)
    assert len(rows) == 6
    for answer, pair in zip(answers, zip(rows[::2], rows[1::2], strict=True), strict=True):
        for block, row in zip(answer["blocks"], pair, strict=True):
            assert row[d.RECOMMENDATION_ID] == answer["recommendation_id"]
            assert row[d.RELEASE] == answer["release"]
            assert row[d.PHASE] == "peak"
            assert row[d.VENUE_ID] == "sale"
            assert row[d.SUBJECT_ID] == "anna"
            assert row[d.PAGE_VIEW_ID] == "view-1"
            assert row[d.BLOCK_ID] == block["block_id"]
            assert row[d.DEGRADED] == answer["degraded"]
            assert row[d.ARMS] == answer["experiments"]
            assert row[d.CANDIDATES] > 0
            for column, name in (
                (d.ITEM_IDS, "item_id"),
                (d.POSITIONS, "position"),
                (d.SOURCES, "source"),
                (d.SLOTS, "slot"),
                (d.PROPENSITIES, "propensity"),
            ):
                assert row[column] == [item[name] for item in block["items"]]
            np.testing.assert_allclose(row[d.SCORES], [i["score"] for i in block["items"]], 1e-6)


def test_the_logged_chances_are_those_the_page_was_ordered_by(shop: VenueService) -> None:
    explained = RecommendRequest(
        user=Shopper(id="anna"), blocks=(BlockQuery(page_size=4),), params=Params(explain=True)
    )
    answer = json.loads(shop.respond("sale", explained))
    shop.close()
    (row,) = newest(folder_of(shop), 9)
    told = [item["explain"]["probabilities"] for item in answer["blocks"][0]["items"]]
    for action, column in d.PROBABILITIES.items():
        expected = [chances.get(action) for chances in told]
        assert row[column] == pytest.approx(expected)
    assert row[d.PROBABILITIES["cart"]] == [None] * 4  # the tiny release does not predict it


def test_items_that_filled_up_a_page_have_no_chances(shop: VenueService) -> None:
    shop.configure(
        shop.worlds._live.model_copy(
            update={"feed": shop.worlds._live.feed.model_copy(update={"candidates_ranked": 5})}
        )
    )
    shop.respond("sale", RecommendRequest(user=Shopper(id="anna")))
    shop.close()
    (row,) = newest(folder_of(shop), 9)
    chances = row[d.PROBABILITIES["order"]]
    assert row[d.CANDIDATES] == 5
    assert [chance is None for chance in chances] == [False] * 5 + [True] * 5


def test_what_was_logged_can_be_read_while_the_service_runs(shop: VenueService) -> None:
    shop.respond("sale", REQUEST)
    until(lambda: len(newest(folder_of(shop), 9)) == 2)
    assert [path.suffix for path in segments(folder_of(shop))] == [OPEN]
    shop.close()
    assert [path.suffix for path in segments(folder_of(shop))] == [SEALED]
    assert counted(shop.metrics.registry, "qianmian_decisions_logged_total") == 1


def test_a_service_told_not_to_log_writes_nothing(tmp_path: Path) -> None:
    tiny.publish(Workspace(tmp_path, tiny.DATASET).releases)
    shop = service(tmp_path, decision_log=DecisionLogSettings(enabled=False))
    shop.respond("sale", REQUEST)
    shop.close()
    assert not folder_of(shop).exists()


def test_a_plain_question_is_not_logged(shop: VenueService) -> None:
    shop.recommend("sale", REQUEST)
    shop.close()
    assert not folder_of(shop).exists()


# -- when it cannot be written ---------------------------------------------------------------------


@pytest.fixture
def decision(feed: Feed, world: World) -> Decision:
    answer, made = feed.decide(world, "sale", REQUEST)
    del answer["timing_ms"]
    return Decision.of(made, json.dumps(answer).encode())


def test_a_disk_that_takes_nothing_costs_rows_and_no_page(
    tmp_path: Path, decision: Decision
) -> None:
    registry = CollectorRegistry()
    (tmp_path / "decisions").write_text("a file stands where the folder should be")
    log = DecisionLog(tmp_path / "decisions", DecisionLogSettings(flush_ms=1), registry)
    log.record(decision)
    until(lambda: counted(registry, "qianmian_decisions_dropped_total", reason="disk") == 1)
    log.close()
    assert counted(registry, "qianmian_decisions_logged_total") == 0


def test_a_full_disk_tears_nothing_and_logging_goes_on_once_there_is_room(
    tmp_path: Path, decision: Decision
) -> None:
    import resource

    registry = CollectorRegistry()
    log = DecisionLog(tmp_path, DecisionLogSettings(flush_ms=1), registry)
    log.record(decision)
    until(lambda: counted(registry, "qianmian_decisions_logged_total") == 1)
    (segment,) = tmp_path.glob(f"*{OPEN}")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size + 100, limits[1]))
    try:
        log.record(decision)
        until(lambda: counted(registry, "qianmian_decisions_dropped_total", reason="disk") == 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    log.record(decision)
    until(lambda: counted(registry, "qianmian_decisions_logged_total") == 2)
    log.close()
    assert len(newest(tmp_path, 99)) == 2 * 2


def test_what_a_slow_writer_cannot_take_is_dropped_and_counted(
    tmp_path: Path, decision: Decision
) -> None:
    registry = CollectorRegistry()
    settings = DecisionLogSettings(flush_ms=10_000, max_waiting=3)
    log = DecisionLog(tmp_path, settings, registry)
    for _ in range(5):
        log.record(decision)
    log.close()
    assert counted(registry, "qianmian_decisions_dropped_total", reason="backlog") == 2
    assert counted(registry, "qianmian_decisions_logged_total") == 3


def test_a_decision_that_cannot_be_encoded_does_not_take_others_with_it(
    tmp_path: Path, decision: Decision
) -> None:
    registry = CollectorRegistry()
    log = DecisionLog(tmp_path, DecisionLogSettings(), registry)
    log.record(Decision(decision.facts, decision.chances, None))  # type: ignore[arg-type]
    log.record(decision)
    log.close()
    assert counted(registry, "qianmian_decisions_dropped_total", reason="encoding") == 1
    assert len(newest(tmp_path, 99)) == 2


def test_many_waiting_answers_are_written_before_their_time(
    tmp_path: Path, decision: Decision
) -> None:
    registry = CollectorRegistry()
    settings = DecisionLogSettings(flush_ms=10_000, flush_decisions=8)
    log = DecisionLog(tmp_path, settings, registry)
    for _ in range(8):
        log.record(decision)
    until(lambda: counted(registry, "qianmian_decisions_logged_total") == 8, seconds=5)
    log.close()


def test_nothing_is_lost_between_many_threads(tmp_path: Path, decision: Decision) -> None:
    log = DecisionLog(
        tmp_path, DecisionLogSettings(flush_ms=1, flush_decisions=7), CollectorRegistry()
    )

    def answer() -> None:
        for _ in range(100):
            log.record(decision)

    threads = [threading.Thread(target=answer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(newest(tmp_path, 9_999)) == 2 * 400


def test_segments_are_rotated_and_sealed_by_size(tmp_path: Path, decision: Decision) -> None:
    registry = CollectorRegistry()
    log = DecisionLog(tmp_path, DecisionLogSettings(flush_ms=1, segment_mb=0.002), registry)
    for count in range(1, 4):
        log.record(decision)
        until(lambda wanted=count: counted(registry, "qianmian_decisions_logged_total") == wanted)
    log.close()
    assert [path.suffix for path in segments(tmp_path)] == [SEALED] * 3
    assert len(newest(tmp_path, 99)) == 6


# -- the bound -------------------------------------------------------------------------------------

REPLICA = """
import json, sys, time
from pathlib import Path
from qianmian.contracts.api import RecommendRequest, Shopper
from tests.serving.shop import service

shop = service(Path(sys.argv[1]))
while True:
    answer = json.loads(shop.respond("sale", RecommendRequest(user=Shopper(id="anna"))))
    print(time.time(), answer["recommendation_id"], flush=True)
    time.sleep(0.002)
"""


def test_a_killed_replica_loses_no_more_than_200_ms(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tiny.DATASET)
    tiny.publish(workspace.releases)
    with subprocess.Popen(
        [sys.executable, "-c", REPLICA, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as replica:
        assert replica.stdout is not None
        lines = [replica.stdout.readline() for _ in range(300)]
        os.kill(replica.pid, signal.SIGKILL)
        killed_at = time.time()
        lines += replica.stdout.readlines()
    answered = [line.split() for line in lines if line.endswith("\n")]
    logged = {row[d.RECOMMENDATION_ID] for row in newest(workspace.decisions, 9_999)}
    lost = [float(at) for at, recommendation in answered if recommendation not in logged]
    assert len(answered) - len(lost) > 100
    assert all(killed_at - at < 0.2 for at in lost)
    # what it left is sealed by whoever comes next
    successor = service(tmp_path)
    successor.respond("sale", REQUEST)
    successor.close()
    assert [path.suffix for path in segments(workspace.decisions)] == [SEALED, SEALED]
    assert len(newest(workspace.decisions, 9_999)) == len(answered) - len(lost) + 2

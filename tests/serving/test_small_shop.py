"""The service on a shop that was really trained, with Feast's online store behind it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.releases.store import ReleaseStore
from qianmian.stream.assembly import assemble
from qianmian.stream.settings import StreamSettings
from qianmian.workspace import CONFIGS, Workspace
from serving.clock import ClockSettings
from serving.environment import free_port
from serving.service import VenueService
from serving.settings import LiveSettings, ServeSettings

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(scope="module")
def shop(small_shop) -> VenueService:
    manifest = ReleaseStore(small_shop.releases).get("live")
    clock = ClockSettings(mode="fixed", at=manifest.data_end + timedelta(days=1))
    settings = ServeSettings(home=small_shop.root, dataset=small_shop.dataset)
    return VenueService.open(settings, LiveSettings(clock=clock))


def page(shop: VenueService, user: str, venue: str = "all", size: int = 10) -> dict:
    body = {"user": {"id": user}, "blocks": [{"page_size": size}]}
    return shop.recommend(venue, RECOMMEND_REQUEST.validate_json(json.dumps(body)))


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["blocks"][0]["items"]]


def test_shoppers_differ_and_the_same_one_repeats(shop: VenueService) -> None:
    users = [user for user, _ in shop.catalogue.known_users[:6]]
    pages = [ids(page(shop, user)) for user in users]
    assert pages == [ids(page(shop, user)) for user in users]
    assert len({tuple(one) for one in pages}) == len(users)


def test_nothing_is_degraded_for_known_or_cold_shoppers(shop: VenueService) -> None:
    for user in (shop.catalogue.known_users[0][0], "never seen"):
        answer = page(shop, user)
        assert answer["degraded"] == []
        assert len(ids(answer)) == 10


def test_venue_keeps_to_its_pool(shop: VenueService) -> None:
    pool = set(shop.catalogue.goods.items_of["half"])
    answer = page(shop, shop.catalogue.known_users[0][0], "half", 100)
    assert set(ids(answer)) <= pool
    assert len(ids(answer)) > len(pool) / 2


def test_remembered_user_gets_the_page_of_a_fresh_one(shop: VenueService) -> None:
    user = shop.catalogue.known_users[1][0]
    remembered = page(shop, user)
    shop.users.forget_all()
    fresh = page(shop, user)
    scores = [
        [item["score"] for item in answer["blocks"][0]["items"]] for answer in (remembered, fresh)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    assert ids(remembered) == ids(fresh)


def test_an_order_is_hidden_before_and_after_the_features_hold_it(
    small_shop: Workspace, tmp_path: Path
) -> None:
    shutil.copytree(small_shop.path, tmp_path / small_shop.dataset)
    venues = tmp_path / "configs" / "venues" / small_shop.dataset
    shutil.copytree(CONFIGS / "experiments", tmp_path / "configs" / "experiments")
    venues.mkdir(parents=True)
    shutil.copy(CONFIGS / "venues" / "default.yaml", venues.parent)
    (venues / "all.yaml").write_text("eligibility: {bought_within_days: 30}\n")
    manifest = ReleaseStore(small_shop.releases).get("live")
    clock = ClockSettings(mode="fixed", at=manifest.data_end + timedelta(days=1))
    settings = ServeSettings(
        home=tmp_path, dataset=small_shop.dataset, configs=tmp_path / "configs"
    )
    shop = VenueService.open(settings, LiveSettings(clock=clock))
    shop.start()
    user = shop.catalogue.known_users[0][0]
    item = ids(page(shop, user))[0]
    order = {"event_id": "o1", "event_type": "order", "user_id": user, "item_id": item}
    body = json.dumps({"events": [{**order, "timestamp": clock.at.isoformat()}]}).encode()
    assert asyncio.run(shop.ingest.receive(body, shop.now()))["accepted"] == 1
    assert item not in ids(page(shop, user, size=100))
    assert len(shop.bought) == 1
    streaming = assemble(
        settings.workspace(),
        shop.engine,
        StreamSettings(),
        now=shop.now,
        remember_seconds=settings.ingest.accept.remember_seconds,
        skew_seconds=settings.ingest.accept.skew_seconds,
    )
    assert streaming.drain() == 1
    shop.listener.catch_up()
    assert item not in ids(page(shop, user, size=100))
    assert len(shop.bought) == 0, "the ledger holds it"
    assert item not in ids(page(shop, user, size=100))
    shop.close()


REPLICA = """
import json, sys
from pathlib import Path
from qianmian.contracts.api import RECOMMEND_REQUEST
from serving.app import Replica, serve_settings
replica = Replica(serve_settings({"home": sys.argv[1], "dataset": sys.argv[2]}))
replica.reconfigure({"clock": {"mode": "system"}, "feed": {"release": "live"}})
answer = replica._service.recommend("all", RECOMMEND_REQUEST.validate_json(b"{}"))
print(json.dumps([len(answer["blocks"][0]["items"]), "torch" in sys.modules]))
"""


def test_a_whole_replica_runs_without_torch(small_shop) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REPLICA, str(small_shop.root), small_shop.dataset],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [20, False]


@pytest.mark.integration
def test_demo_shows_two_pages_over_http_and_ends(small_shop) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "qianmian.cli.main"]
    command += ["--home", str(small_shop.root), "--dataset", small_shop.dataset]
    done = subprocess.run(
        [*command, "demo", "--exit", "--port", str(free_port())],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stderr
    assert "Whole catalogue (venue all, phase open)" in done.stdout
    assert done.stdout.count("shopper ") == 2
    assert "the venue page: http://127.0.0.1:" in done.stdout

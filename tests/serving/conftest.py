"""A tiny shop in memory: a real release, two venues, two experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count

import pytest
from prometheus_client import CollectorRegistry

from qianmian.experiments import Experiments, FeedParams
from qianmian.releases.bundle import Bundle
from qianmian.releases.store import ReleaseStore
from qianmian.venues import Block, Phase, Venue
from serving.clock import Clock, ClockSettings
from serving.feed.journey import Feed
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import Goods, ResidentRelease, World
from serving.feed.seal import Seal
from serving.feed.shelf import Offers
from serving.feed.tokens import Signer
from serving.feed.users import Users
from tests.serving import tiny

OBJECTIVE = {"order": 1.0, "cart": 0.3, "click": 0.1}
BLOCKS = {"main": Block("For you", 10)}
VENUES = {
    "all": Venue("all", "Whole catalogue", "catalogue", None, None, OBJECTIVE, (), BLOCKS),
    "sale": Venue(
        "sale",
        "Winter sale",
        "sale",
        tiny.NOW - 10 * 86_400,
        tiny.NOW + 10 * 86_400,
        OBJECTIVE,
        (Phase("peak", tiny.NOW - 86_400, {"order": 1.0, "click": 0.0}),),
        BLOCKS,
    ),
}
SALE_ITEMS = [tiny.item_id(n) for n in range(0, tiny.ITEMS, 2)]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReleaseStore:
    """Releases of the tiny shop; tests must not change them."""
    return tiny.publish(tmp_path_factory.mktemp("tiny") / "releases")


@pytest.fixture(scope="session")
def release(store: ReleaseStore) -> ResidentRelease:
    bundle = Bundle.load(store.path("live"))
    goods = Goods(
        {"sale": [*SALE_ITEMS, "sold elsewhere"]},
        {"sale": Offers(coupons={"i012": "c-9", "sold elsewhere": "c-9"})},
    )
    return ResidentRelease.build(store.resolve("live"), bundle, VENUES, goods)


@pytest.fixture
def make_world(release: ResidentRelease) -> Callable[..., World]:
    def make(experiments: Experiments | None = None, **releases: ResidentRelease) -> World:
        at = datetime.fromtimestamp(tiny.NOW, tz=UTC)
        return World(
            venues=VENUES,
            experiments=experiments or Experiments((), FeedParams()),
            releases={"live": release, **releases},
            clock=Clock.start(ClockSettings(mode="fixed", at=at)),
        )

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def metrics() -> FeedMetrics:
    return FeedMetrics(CollectorRegistry())


@pytest.fixture
def signer() -> Signer:
    return Signer(Seal.of_secret(b"a secret of thirty-two bytes ..."), dataset=tiny.DATASET)


@pytest.fixture
def ids() -> Iterator[int]:
    return count()


@pytest.fixture
def feed(signer: Signer, metrics: FeedMetrics, ids: Iterator[int]) -> Feed:
    return Feed(
        users=Users(tiny.USERS.get, size=100, ttl=60.0),
        signer=signer,
        metrics=metrics,
        new_id=lambda: f"r{next(ids)}",
    )
